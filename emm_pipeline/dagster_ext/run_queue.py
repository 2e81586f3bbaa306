"""The run queue: Dagster's own, in which a scheduled poll does not wait while fewer runs than allowed are in progress.

The daemon looks at the queue every few seconds. A poll that waited there would begin late, and its meters would be read
late. A poll that has to wait, because too many runs are in progress, is started before the other runs of the queue.

Run coordinators: https://docs.dagster.io/deployment/execution/run-coordinators
"""

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter

from emm_pipeline.dagster_ext.internals import QueuedRunCoordinator, SubmitRunContext, instance_of

PRIORITY_TAG = "dagster/priority"
NOT_QUEUED = 20
"""Priority from which a run is started at once. That of the runs of a backfill is 0."""

_IN_PROGRESS = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]


class PollsFirst(QueuedRunCoordinator):
    """The class under `run_coordinator:` in dagster.yaml, with the configuration of Dagster's own class."""

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Start a run of a high priority if another may be in progress; put others into the queue."""
        run, instance = context.dagster_run, instance_of(self)
        if run.status is DagsterRunStatus.NOT_STARTED and _priority(run) >= NOT_QUEUED and _has_room(instance):
            return instance.launch_run(run.run_id, context.workspace)
        return super().submit_run(context)


def _priority(run: DagsterRun) -> int:
    try:
        return int(run.tags.get(PRIORITY_TAG, "0"))
    except ValueError:
        return 0


def _has_room(instance: DagsterInstance) -> bool:
    """Whether fewer runs than `max_concurrent_runs` are in progress. A negative number allows any number."""
    queue = instance.get_concurrency_config().run_queue_config
    if queue is None or queue.max_concurrent_runs < 0:
        return True
    return instance.get_runs_count(RunsFilter(statuses=_IN_PROGRESS)) < queue.max_concurrent_runs
