"""The prune job: deletes old run history, but keeps each meter's last status; once a day, deletes old readings.

`dagster_ext/run_history.py` defines what is deleted, and in which order.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from dagster import (
    AssetKey,
    DefaultScheduleStatus,
    In,
    MetadataValue,
    Nothing,
    OpExecutionContext,
    Out,
    Output,
    ScheduleDefinition,
    job,
    op,
)

from emm_pipeline.dagster_ext.run_history import prune_files, prune_runs
from emm_pipeline.defs.energy import DAILY, HOURLY, MONTHLY
from emm_pipeline.defs.partitions import METER_READINGS, METERS
from emm_pipeline.defs.resources import ReadingsHistory
from emm_pipeline.defs.runs import MAX_RUNTIME_TAG
from emm_pipeline.energy.periods import midnight, milliseconds
from emm_pipeline.settings import current_settings

TIME_LIMIT = timedelta(minutes=10)
"""Time limit of one prune; the next one deletes the rest. Deleting a run with 100 meters takes 0.3 ms."""


@op(name="delete_old_runs", out=Out(dict))
def prune(context: OpExecutionContext) -> Output[dict[str, int]]:
    """Delete old runs, then the files of deleted runs."""
    hours = current_settings().run_retention_hours
    before = datetime.now(UTC) - timedelta(hours=hours)
    pruned = prune_runs(
        context.instance,
        before,
        TIME_LIMIT,
        asset=METER_READINGS,
        partitions=str(METERS.name),
        by_time=[AssetKey(name) for name in (HOURLY, DAILY, MONTHLY)],
    )
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


READINGS_DELETED_AT = 3
"""The hour of the day, in TZ, in which old readings are deleted: once a day, because that is work for InfluxDB."""


@op(name="delete_old_readings", ins={"after": In(Nothing)})
def delete_readings(context: OpExecutionContext, history: ReadingsHistory) -> None:
    """Delete readings older than READINGS_RETENTION_DAYS, once a day. Energies are kept."""
    settings = current_settings()
    zone = ZoneInfo(settings.tz)
    now = datetime.now(zone)
    if settings.readings_retention_days is None or now.hour != READINGS_DELETED_AT:
        return
    before = midnight((now - timedelta(days=settings.readings_retention_days)).date(), zone)
    with history.open() as store:
        store.delete_readings(milliseconds(before))
    context.log.info(f"readings before {before:%Y-%m-%d %H:%M} deleted (READINGS_RETENTION_DAYS)")


@job(
    name="prune",
    tags={MAX_RUNTIME_TAG: str(int(TIME_LIMIT.total_seconds()) + 300)},
    description="Deletes run history older than RUN_RETENTION_HOURS, and keeps each meter's last status. Once a day, "
    "deletes readings older than READINGS_RETENTION_DAYS.",
)
def prune_job() -> None:
    """Run two steps; the metadata of the first one's output says what it deleted."""
    delete_readings(after=prune())


prune_schedule = ScheduleDefinition(
    name="prune_schedule",
    job=prune_job,
    cron_schedule="20 * * * *",
    default_status=DefaultScheduleStatus.RUNNING,
    description="Deletes old run history, once an hour (RUN_RETENTION_HOURS).",
)
