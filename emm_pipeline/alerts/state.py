"""Reported alerts, and the lines that wait to be mailed: tables `troubles` and `mail_lines`.

Both are kept between runs: each change is reported once, even if a process is killed or the mail server is unavailable.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import text

from emm_pipeline.alerts.rules import Alert, AlertChanges, AlertLine, Condition
from emm_pipeline.config_db.device_state.meter_status import storable
from emm_pipeline.config_db.engine import database_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Engine

# No alert is raised for a meter that was never polled or is no longer in energy_meters.
_METERS = text("""
    SELECT DISTINCT ON (status.id) 'meter ' || status.id AS subject, meter.description,
           status.failed_samples, status.failed_samples_since, status.failed_sample_reason, status.last_read_at
    FROM meter_status AS status
    JOIN energy_meters AS meter ON meter.id = status.id
    WHERE status.failed_samples > 0 OR 'meter ' || status.id IN (SELECT subject FROM troubles)
    ORDER BY status.id
""")

_TOLD = text("SELECT subject, name, since, reason FROM troubles ORDER BY since, subject")

_ADD = text("""
    INSERT INTO troubles (subject, name, since, reason) VALUES (:subject, :name, :since, :reason)
    ON CONFLICT (subject) DO NOTHING
""")
_REMOVE = text("DELETE FROM troubles WHERE subject = :subject")
_ADD_LINE = text("INSERT INTO mail_lines (begun, line) VALUES (:begun, :line)")

_WAITING = text("SELECT coalesce(max(id), 0) FROM mail_lines")

_CLAIM = text("SELECT id, begun, line FROM mail_lines ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED")
_DELETE_LINES = text("DELETE FROM mail_lines WHERE id = ANY(:ids)")


def meter_conditions(engine: Engine) -> list[Condition]:
    """Return the conditions of the meters that fail or have a reported alert.

    Raises:
        ConfigDatabaseError: The database cannot be read. All functions here raise it.
    """
    with database_errors(engine), engine.connect() as connection:
        return [
            Condition(
                subject=row.subject,
                name=row.subject + (f" ({row.description})" if row.description else ""),
                failures=row.failed_samples,
                since=row.failed_samples_since,
                reason=row.failed_sample_reason,
                last_ok_at=row.last_read_at,
            )
            for row in connection.execute(_METERS)
        ]


def raised_alerts(engine: Engine) -> list[Alert]:
    """Return the alerts that were reported and are not resolved."""
    with database_errors(engine), engine.connect() as connection:
        return [Alert(*row) for row in connection.execute(_TOLD)]


def save_changes(engine: Engine, changes: AlertChanges, lines: Sequence[AlertLine]) -> None:
    """Save the changes and the lines that report them, in one transaction."""
    with database_errors(engine), engine.begin() as connection:
        for alert in changes.raised:
            values = {"name": storable(alert.name), "reason": storable(alert.reason)}
            connection.execute(_ADD, {"subject": alert.subject, "since": alert.since, **values})
        for alert in (*changes.resolved, *changes.dropped):
            connection.execute(_REMOVE, {"subject": alert.subject})
        for line in lines:
            connection.execute(_ADD_LINE, {"begun": line.raised, "line": storable(line.text)})


def last_waiting_line(engine: Engine) -> int:
    """Return the number of the last line that waits to be mailed, 0 if none waits."""
    with database_errors(engine), engine.connect() as connection:
        return int(connection.scalar(_WAITING) or 0)


@contextmanager
def claimed_lines(engine: Engine, limit: int) -> Iterator[list[AlertLine]]:
    """Yield the oldest lines that wait. They are deleted when the block ends, and kept if it raises.

    No other process gets them in the meantime. If this process is killed, they are available again at once.
    """
    with database_errors(engine), engine.begin() as connection:
        rows = connection.execute(_CLAIM, {"limit": limit}).all()
        yield [AlertLine(row.begun, row.line) for row in rows]
        if rows:
            connection.execute(_DELETE_LINES, {"ids": [row.id for row in rows]})
