"""The prune job: deletes run history older than RUN_RETENTION_HOURS, and keeps each meter's last status.

`dagster_ext/run_history.py` defines what is deleted, and in which order.
"""

from datetime import UTC, datetime, timedelta

from dagster import (
    DefaultScheduleStatus,
    MetadataValue,
    OpExecutionContext,
    Out,
    Output,
    ScheduleDefinition,
    job,
    op,
)

from emm_pipeline.dagster_ext.run_history import prune_files, prune_runs
from emm_pipeline.defs.partitions import METER_READINGS, METERS
from emm_pipeline.defs.runs import MAX_RUNTIME_TAG
from emm_pipeline.settings import current_settings

TIME_LIMIT = timedelta(minutes=10)
"""Time limit of one prune; the next one deletes the rest. Deleting a run with 100 meters takes 0.3 ms."""


@op(name="delete_old_runs", out=Out(dict))
def prune(context: OpExecutionContext) -> Output[dict[str, int]]:
    """Delete old runs, then the files of deleted runs."""
    hours = current_settings().run_retention_hours
    before = datetime.now(UTC) - timedelta(hours=hours)
    pruned = prune_runs(context.instance, before, TIME_LIMIT, METER_READINGS, str(METERS.name))
    files = prune_files(context.instance, before)
    counts = {
        "runs deleted": pruned.deleted,
        "runs kept for a meter's status": pruned.kept,
        "runs left for the next time": pruned.left,
        "folders and logs deleted": files,
    }
    summary = ", ".join(f"{what} {count}" for what, count in counts.items())
    context.log.info(f"older than {hours} h: {summary}")
    return Output(counts, metadata={what: MetadataValue.int(count) for what, count in counts.items()})


@job(
    name="prune",
    tags={MAX_RUNTIME_TAG: str(int(TIME_LIMIT.total_seconds()) + 300)},
    description="Deletes run history older than RUN_RETENTION_HOURS, and keeps each meter's last status.",
)
def prune_job() -> None:
    """Run one step; the metadata of its output says what it deleted."""
    prune()


prune_schedule = ScheduleDefinition(
    name="prune_schedule",
    job=prune_job,
    cron_schedule="20 * * * *",
    default_status=DefaultScheduleStatus.RUNNING,
    description="Deletes old run history, once an hour (RUN_RETENTION_HOURS).",
)
