"""Delete run history: old runs with their events and tags from Dagster's database, and their files.

Dagster computes a partition's status from the partition's last materialization, the last event that planned one, and
the status of the runs of these events. Those runs, at most two per partition, are kept however old they are.
`defs/prune.py` decides when to delete and how much to keep.
"""

import shutil
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from dagster import AssetKey, DagsterEventType, DagsterInstance, DagsterRunStatus, RunsFilter
from dagster_postgres import PostgresEventLogStorage
from sqlalchemy import Connection, text

from emm_pipeline.settings import current_settings

IN_FLIGHT = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]
"""The statuses of runs that have not ended."""

_RUNS_AT_ONCE = 20
_FOLDERS_AT_ONCE = 500
_LOG_FILES = frozenset({".err", ".out", ".complete"})
_DELETABLE = [
    DagsterRunStatus.SUCCESS,
    DagsterRunStatus.FAILURE,
    DagsterRunStatus.CANCELED,
    DagsterRunStatus.NOT_STARTED,  # the process that created the run was killed before it launched it
]

_RUNS_OF_CURRENT_STATUSES = text("""
    SELECT DISTINCT run_id
    FROM (
        SELECT last.run_id, last.id, types.type, max(last.id) OVER (PARTITION BY known.partition) AS newest
        FROM dynamic_partitions AS known
        CROSS JOIN (VALUES (:materialized), (:planned)) AS types (type)
        CROSS JOIN LATERAL (
            SELECT run_id, id
            FROM event_logs
            WHERE asset_key = :asset_key AND dagster_event_type = types.type AND partition = known.partition
            ORDER BY id DESC
            LIMIT 1
        ) AS last
        WHERE known.partitions_def_name = :partitions
    ) AS statements
    WHERE type = :materialized OR id = newest
""")

# instance.delete_run, which deletes one run at a time, takes ten times as long. Runs are deleted last, so that the next
# prune finds the rest if this one is killed. The database deletes the tags of a run together with the run.
# Partitions of time keep their last materialization without its run: Dagster needs no more to show them as
# materialized, and would compute them again otherwise.
_IS_LAST_OF_TIME = """
    dagster_event_type = :materialized AND asset_key = ANY(:by_time) AND partition IS NOT NULL AND id = (
        SELECT max(newer.id) FROM event_logs AS newer
        WHERE newer.asset_key = event_logs.asset_key AND newer.dagster_event_type = :materialized
            AND newer.partition = event_logs.partition
    )
"""
_DELETE_RUNS = (
    text("DELETE FROM asset_event_tags WHERE event_id IN (SELECT id FROM event_logs WHERE run_id = ANY(:run_ids))"),
    # Each check keeps its newest evaluation, which the Checks tab shows. Dagster's own delete_run does not delete them.
    text("""
        DELETE FROM asset_check_executions WHERE run_id = ANY(:run_ids) AND id NOT IN (
            SELECT max(id) FROM asset_check_executions WHERE execution_status <> 'PLANNED'
            GROUP BY asset_key, check_name
        )
    """),
    text(f"DELETE FROM event_logs WHERE run_id = ANY(:run_ids) AND ({_IS_LAST_OF_TIME}) IS NOT TRUE"),  # noqa: S608
    text("DELETE FROM runs WHERE run_id = ANY(:run_ids)"),
)


@dataclass(frozen=True, slots=True)
class Pruned:
    """Numbers of runs: deleted, kept because a partition's status depends on them, and left for the next prune."""

    deleted: int
    kept: int
    left: int


def prune_runs(  # noqa: PLR0913 - which assets, in addition to what to delete
    instance: DagsterInstance,
    before: datetime,
    time_limit: timedelta,
    *,
    asset: AssetKey,
    partitions: str,
    by_time: Iterable[AssetKey] = (),
) -> Pruned:
    """Delete the runs that ended before a time, oldest first, with their events and tags.

    Args:
        instance: the instance, whose events are in PostgreSQL.
        before: the time (aware).
        time_limit: how long deleting may take; the remaining runs are left for the next prune.
        asset: the asset whose partitions keep their status.
        partitions: the name of its dynamic partitions.
        by_time: the assets with partitions of time, which keep their last materializations.
    """
    ends_at = time.monotonic() + time_limit.total_seconds()
    kept = runs_of_current_statuses(instance, asset, partitions)
    filters = RunsFilter(statuses=_DELETABLE, updated_before=before.astimezone(UTC))
    old = list(reversed(instance.get_run_ids(filters)))
    deletable = [run_id for run_id in old if run_id not in kept]
    values = {
        "materialized": DagsterEventType.ASSET_MATERIALIZATION.value,
        "by_time": [key.to_string() for key in by_time],
    }
    deleted = 0
    while deleted < len(deletable) and time.monotonic() < ends_at:
        run_ids = deletable[deleted : deleted + _RUNS_AT_ONCE]
        with _connection(instance) as connection:
            for statement in _DELETE_RUNS:
                connection.execute(statement, values | {"run_ids": run_ids})
        deleted += len(run_ids)
    return Pruned(deleted, len(old) - len(deletable), len(deletable) - deleted)


def runs_of_current_statuses(instance: DagsterInstance, asset: AssetKey, partitions: str) -> set[str]:
    """Return the ids of the runs from which Dagster computes the status of an asset's partitions."""
    with _connection(instance) as connection:
        rows = connection.execute(
            _RUNS_OF_CURRENT_STATUSES,
            {
                "asset_key": asset.to_string(),
                "partitions": partitions,
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
    """Delete step files of deleted runs, and logs of ticks, that were last changed before a time (aware).

    Returns:
        The number of deleted folders of runs and log files of ticks.
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
    """Delete this host's old step files. Celery workers call this, because the job may be executed on another host."""
    before = datetime.now(UTC) - timedelta(hours=current_settings().run_retention_hours)
    with DagsterInstance.get() as instance:
        return prune_files(instance, before)


def _prune_tick_logs(storage: Path, before: datetime) -> int:
    """Delete the logs of schedules, sensors and backfills, which are in folders named after them."""
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
