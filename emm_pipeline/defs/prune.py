"""The prune job: run history older than RUN_RETENTION_HOURS is deleted; each meter's last status stays.

What Dagster shows of a partition it computes from the partition's last materialization and the last event that planned
one, and from the status of the runs that these belong to. Those runs are kept, however old; there are at most two per
partition.
"""

import shutil
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from dagster import (
    DagsterEventType,
    DagsterInstance,
    DagsterRunStatus,
    DefaultScheduleStatus,
    MetadataValue,
    OpExecutionContext,
    Out,
    Output,
    RunsFilter,
    ScheduleDefinition,
    job,
    op,
)
from dagster_postgres import PostgresEventLogStorage
from sqlalchemy import Connection, text

from emm_pipeline.defs.partitions import METER_READINGS, METERS
from emm_pipeline.defs.runs import MAX_RUNTIME_TAG
from emm_pipeline.settings import current_settings

TIME_LIMIT = timedelta(minutes=10)
"""How long one prune takes at most; what is left goes the next time. A run with 100 meters takes 0.3 ms."""

_RUNS_AT_ONCE = 20
_FOLDERS_AT_ONCE = 500
_LOG_FILES = frozenset({".err", ".out", ".complete"})
_DELETABLE = [
    DagsterRunStatus.SUCCESS,
    DagsterRunStatus.FAILURE,
    DagsterRunStatus.CANCELED,
    DagsterRunStatus.NOT_STARTED,  # never handed on: whoever made it was killed, and nothing will end it
]

_RUNS_OF_CURRENT_STATUSES = text("""
    SELECT DISTINCT run_id
    FROM (
        SELECT last.run_id, last.id, types.type, max(last.id) OVER (PARTITION BY meter.partition) AS newest
        FROM dynamic_partitions AS meter
        CROSS JOIN (VALUES (:materialized), (:planned)) AS types (type)
        CROSS JOIN LATERAL (
            SELECT run_id, id
            FROM event_logs
            WHERE asset_key = :asset_key AND dagster_event_type = types.type AND partition = meter.partition
            ORDER BY id DESC
            LIMIT 1
        ) AS last
        WHERE meter.partitions_def_name = :meters
    ) AS statements
    WHERE type = :materialized OR id = newest
""")

# Not instance.delete_run: run by run it takes ten times as long. In this order, what a prune that was killed left is
# found the next time. Tags of runs go with them.
_DELETE_RUNS = (
    text("DELETE FROM asset_event_tags WHERE event_id IN (SELECT id FROM event_logs WHERE run_id = ANY(:run_ids))"),
    text("DELETE FROM event_logs WHERE run_id = ANY(:run_ids)"),
    text("DELETE FROM runs WHERE run_id = ANY(:run_ids)"),
)


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a prune did: runs deleted, old ones kept for a meter's status, old ones left for the next time."""

    deleted: int
    kept: int
    left: int


def prune_runs(instance: DagsterInstance, before: datetime, time_limit: timedelta = TIME_LIMIT) -> Pruned:
    """Delete the runs that ended before a time (aware), oldest first, with their events and tags."""
    ends_at = time.monotonic() + time_limit.total_seconds()
    kept = runs_of_current_statuses(instance)
    filters = RunsFilter(statuses=_DELETABLE, updated_before=before.astimezone(UTC))
    old = list(reversed(instance.get_run_ids(filters)))
    deletable = [run_id for run_id in old if run_id not in kept]
    deleted = 0
    while deleted < len(deletable) and time.monotonic() < ends_at:
        run_ids = deletable[deleted : deleted + _RUNS_AT_ONCE]
        with _connection(instance) as connection:
            for statement in _DELETE_RUNS:
                connection.execute(statement, {"run_ids": run_ids})
        deleted += len(run_ids)
    return Pruned(deleted, len(old) - len(deletable), len(deletable) - deleted)


def runs_of_current_statuses(instance: DagsterInstance) -> set[str]:
    """Return the ids of the runs without which Dagster would not know how a meter is."""
    with _connection(instance) as connection:
        rows = connection.execute(
            _RUNS_OF_CURRENT_STATUSES,
            {
                "asset_key": METER_READINGS.to_string(),
                "meters": str(METERS.name),
                "materialized": DagsterEventType.ASSET_MATERIALIZATION.value,
                "planned": DagsterEventType.ASSET_MATERIALIZATION_PLANNED.value,
            },
        )
        return {row.run_id for row in rows}


def _connection(instance: DagsterInstance) -> AbstractContextManager[Connection]:
    storage = instance.event_log_storage
    if not isinstance(storage, PostgresEventLogStorage):
        raise TypeError(f"Dagster's events are not in PostgreSQL but in {type(storage).__name__}")
    return storage.index_connection()


def prune_files(instance: DagsterInstance, before: datetime) -> int:
    """Delete step files and logs, last changed before a time (aware), of runs that are no more; and logs of ticks.

    Returns:
        How many folders of runs and log files of ticks were deleted.
    """
    storage = Path(instance.storage_directory())
    if not storage.is_dir():
        return 0
    old = [path for path in storage.iterdir() if path.is_dir() and path.stat().st_mtime < before.timestamp()]
    folders = [path for path in old if _is_run_id(path.name)]
    deleted = 0
    for start in range(0, len(folders), _FOLDERS_AT_ONCE):
        chunk = folders[start : start + _FOLDERS_AT_ONCE]
        known = set(instance.get_run_ids(RunsFilter(run_ids=[path.name for path in chunk])))
        for path in chunk:
            if path.name not in known:
                shutil.rmtree(path, ignore_errors=True)
                deleted += 1
    return deleted + _prune_tick_logs(storage, before)


def prune_own_files() -> int:
    """Delete this host's old step files: what a Celery worker does, since the job may run on another host."""
    before = datetime.now(UTC) - timedelta(hours=current_settings().run_retention_hours)
    with DagsterInstance.get() as instance:
        return prune_files(instance, before)


def _prune_tick_logs(storage: Path, before: datetime) -> int:
    """Delete what schedules, sensors and backfills logged: files in folders that are named for them."""
    deleted = 0
    for folder in storage.iterdir():
        if not folder.is_dir() or _is_run_id(folder.name):
            continue
        for path in folder.rglob("*"):
            if path.suffix in _LOG_FILES and path.is_file() and path.stat().st_mtime < before.timestamp():
                path.unlink(missing_ok=True)
                deleted += 1
    return deleted


def _is_run_id(name: str) -> bool:
    try:
        UUID(name)
    except ValueError:
        return False
    return True


@op(name="delete_old_runs", out=Out(dict))
def prune(context: OpExecutionContext) -> Output[dict[str, int]]:
    """Delete old runs, then the files of runs that are gone."""
    hours = current_settings().run_retention_hours
    before = datetime.now(UTC) - timedelta(hours=hours)
    pruned = prune_runs(context.instance, before)
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
    """One step; what it deleted is in the metadata of its output."""
    prune()


prune_schedule = ScheduleDefinition(
    name="prune_schedule",
    job=prune_job,
    cron_schedule="20 * * * *",
    default_status=DefaultScheduleStatus.RUNNING,
    description="Deletes old run history, once an hour (RUN_RETENTION_HOURS).",
)
