"""The replay: load the points that wait in the outbox once the store is available again.

The sensor starts the job if a batch waits that no run is loading, and the store would accept it. While the store is
unavailable, no run is launched. If the outbox is empty, the sensor only lists its folder.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from dagster import (
    DagsterInstance,
    DagsterRunStatus,
    DefaultSensorStatus,
    Failure,
    MetadataValue,
    Nothing,
    OpExecutionContext,
    Out,
    Output,
    RunRequest,
    RunsFilter,
    SensorEvaluationContext,
    SkipReason,
    job,
    op,
    sensor,
)

from emm_pipeline.dagster_ext.run_history import IN_FLIGHT
from emm_pipeline.defs.resources import Readings
from emm_pipeline.defs.runs import MAX_RUNTIME_TAG
from emm_pipeline.errors import EmmError
from emm_pipeline.opening import open_outbox, open_readings_store
from emm_pipeline.settings import current_settings

REPLAY = "replay"
LOOKS_EVERY_S = 30
PAUSE_AFTER_FAILURE = timedelta(minutes=2)
"""Pause after a failed replay, because a store that is available only now and then needs time to recover."""


@op(out=Out(Nothing, is_required=False))
def load_outbox(context: OpExecutionContext, readings: Readings) -> Iterator[Output[None]]:
    """Load waiting batches, oldest first; fail if any still wait at the end, or if the store rejected a point."""
    with readings.open() as delivery:
        done = delivery.replay()
    context.log.info(f"{done.points} points of {done.files} files loaded")
    context.add_output_metadata({"files": MetadataValue.int(done.files), "points": MetadataValue.int(done.points)})
    if done.problems:
        raise Failure("; ".join(done.problems), allow_retries=False)
    yield from ()


@job(
    name=REPLAY,
    tags={MAX_RUNTIME_TAG: "3600"},
    description="Loads the points that wait in the outbox, oldest first, with their original timestamps. "
    "A sensor starts it.",
)
def replay_job() -> None:
    """Run one step. Polls and other replays may run at the same time, because each batch is locked by one process."""
    load_outbox()


@sensor(
    name="replay_sensor",
    job_name=REPLAY,
    minimum_interval_seconds=LOOKS_EVERY_S,
    default_status=DefaultSensorStatus.RUNNING,
    description="Starts the replay while points wait in the outbox and the store answers.",
)
def replay_sensor(context: SensorEvaluationContext) -> RunRequest | SkipReason:
    """Decide whether to start a replay now."""
    settings = current_settings()
    if settings.run_launcher == "celery":
        return SkipReason("Each Celery worker loads the points on its own host.")
    try:
        if not open_outbox(settings).has_waiting():
            return SkipReason("No points wait in the outbox.")
        if reason := _pauses(context.instance):
            return SkipReason(reason)
        with open_readings_store(settings) as store:
            store.ping()
    except EmmError as err:
        return SkipReason(str(err))
    return RunRequest()


def _pauses(instance: DagsterInstance) -> str | None:
    """Return why no replay is started now although points wait; None if one can start."""
    records = instance.get_run_records(RunsFilter(job_name=REPLAY), limit=1)
    if not records:
        return None
    run, ended = records[0].dagster_run, records[0].end_time
    if run.status in IN_FLIGHT:
        return f"Run {run.run_id[:8]} is loading them."
    if run.status is DagsterRunStatus.FAILURE and ended:
        again = datetime.fromtimestamp(ended, UTC) + PAUSE_AFTER_FAILURE
        if datetime.now(UTC) < again:
            return f"Run {run.run_id[:8]} failed; the next one starts at {again:%H:%M:%S} UTC."
    return None
