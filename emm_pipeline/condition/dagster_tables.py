"""Read the state of the daemon, the schedule, the queue and the last runs from Dagster's database.

It does not import Dagster. The tables are Dagster's own: `dagster_ext/internals.py` lists their columns, and the
version of Dagster in which they were checked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import text

from emm_pipeline.config_db.engine import database_errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Engine

# Dagster writes times without a zone, in UTC; the ends of runs are seconds since 1970.
_HEARTBEAT = text("SELECT max(timestamp) FROM daemon_heartbeats WHERE daemon_type = 'SCHEDULER'")
_STOPPED = text("""
    SELECT update_timestamp FROM instigators
    WHERE instigator_type = 'SCHEDULE' AND status = 'STOPPED' AND instigator_body LIKE '%"poll_schedule"%'
""")
_QUEUED = text("""
    SELECT min(create_timestamp) FROM runs
    WHERE status IN ('QUEUED', 'NOT_STARTED', 'STARTING') AND pipeline_name = 'poll'
    AND run_id IN (SELECT run_id FROM run_tags WHERE key = '.dagster/emm.kind')
""")
_TICK = text("""
    SELECT ticks.status FROM job_ticks AS ticks
    JOIN instigators ON instigators.selector_id = ticks.selector_id
    WHERE ticks.type = 'SCHEDULE' AND instigators.instigator_body LIKE '%"poll_schedule"%'
    ORDER BY ticks.id DESC LIMIT 1
""")
_LAST_RUNS = text("""
    SELECT DISTINCT ON (pipeline_name) pipeline_name AS job, run_id, status, end_time FROM runs
    WHERE status IN ('SUCCESS', 'FAILURE') AND pipeline_name IN ('discovery', 'prune', 'replay', 'send_alerts')
    ORDER BY pipeline_name, id DESC
""")


@dataclass(frozen=True, slots=True)
class FailedRun:
    """The last run of a job, which failed; `ended_at` is aware."""

    run_id: str
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class DagsterFacts:
    """The content of Dagster's database; times are aware.

    `schedule_stopped_at` is the time at which the poll's schedule was switched off, None while it is on.
    `queued_since` is the time at which the oldest scheduled poll that has not started was created. `failed_jobs`
    contains, by job, the last runs that failed. `error` says why nothing is known.
    """

    heartbeat_at: datetime | None = None
    schedule_stopped_at: datetime | None = None
    queued_since: datetime | None = None
    tick_error: str | None = None
    failed_jobs: Mapping[str, FailedRun] = field(default_factory=dict)
    error: str | None = None


def load_dagster_facts(engine: Engine) -> DagsterFacts:
    """Read the facts.

    Raises:
        ConfigDatabaseError: The database cannot be read, or does not contain Dagster's tables.
    """
    with database_errors(engine), engine.connect() as connection:
        tick = connection.execute(_TICK).first()
        runs = connection.execute(_LAST_RUNS).all()
        return DagsterFacts(
            _utc(connection.scalar(_HEARTBEAT)),
            _utc(connection.scalar(_STOPPED)),
            _utc(connection.scalar(_QUEUED)),
            "its last tick failed" if tick and tick.status == "FAILURE" else None,
            {
                run.job: FailedRun(run.run_id, datetime.fromtimestamp(run.end_time, UTC) if run.end_time else None)
                for run in runs
                if run.status == "FAILURE"
            },
        )


def _utc(time: datetime | None) -> datetime | None:
    if time is None:
        return None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
