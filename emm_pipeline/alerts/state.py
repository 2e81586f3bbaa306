"""The alerts that were sent to people, and the lines that wait to be sent: tables `alerts` and `alert_lines`.

Both are kept between runs: each change is reported once, even if a process is killed, and lines for a channel that is
unavailable wait.
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

# No alert is raised for a meter that was never polled, is not in energy_meters any more, or may be off and is silent.
# Failures of every kind count: those of single samples, and those of whole runs (deadline, configuration, the store).
_METERS = text("""
    SELECT DISTINCT ON (status.id) 'meter ' || status.id AS subject, meter.description,
           greatest(status.failed_samples, status.failures_in_a_row) AS failures,
           coalesce(status.failed_samples_since, status.failing_since) AS since,
           coalesce(status.failed_sample_reason, status.reason) AS reason, status.last_read_at
    FROM meter_status AS status
    JOIN energy_meters AS meter ON meter.id = status.id
    WHERE NOT status.asleep AND (
        status.failed_samples > 0 OR status.failing_since IS NOT NULL
        OR 'meter ' || status.id IN (SELECT subject FROM alerts)
    )
    ORDER BY status.id
""")

_TOLD = text("SELECT subject, name, since, reason FROM alerts ORDER BY since, subject")

_ADD = text("""
    INSERT INTO alerts (subject, name, since, reason) VALUES (:subject, :name, :since, :reason)
    ON CONFLICT (subject) DO NOTHING
""")
_REMOVE = text("DELETE FROM alerts WHERE subject = :subject")
_ADD_LINE = text("INSERT INTO alert_lines (raised, line, channel) VALUES (:raised, :line, :channel)")

_WAITING = text("SELECT coalesce(max(id), 0) FROM alert_lines")

_CLAIM = text("""
    SELECT id, raised, line FROM alert_lines WHERE channel = :channel ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED
""")
_FORGET = text("DELETE FROM alert_lines WHERE channel <> ALL(:channels)")
_DELETE_LINES = text("DELETE FROM alert_lines WHERE id = ANY(:ids)")


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
                failures=row.failures,
                since=row.since,
                reason=row.reason,
                last_ok_at=row.last_read_at,
            )
            for row in connection.execute(_METERS)
        ]


def raised_alerts(engine: Engine) -> list[Alert]:
    """Return the alerts that were reported and are not resolved."""
    with database_errors(engine), engine.connect() as connection:
        return [Alert(*row) for row in connection.execute(_TOLD)]


def save_changes(
    engine: Engine, changes: AlertChanges, lines: Sequence[AlertLine], channels: Sequence[str] = ("mail",)
) -> None:
    """Save the changes, and for each channel the lines that report them, in one transaction."""
    with database_errors(engine), engine.begin() as connection:
        for alert in changes.raised:
            values = {"name": storable(alert.name), "reason": storable(alert.reason)}
            connection.execute(_ADD, {"subject": alert.subject, "since": alert.since, **values})
        for alert in (*changes.resolved, *changes.dropped):
            connection.execute(_REMOVE, {"subject": alert.subject})
        for line in lines:
            for channel in channels:
                row = {"raised": line.raised, "line": storable(line.text), "channel": channel}
                connection.execute(_ADD_LINE, row)


def forget_other_channels(engine: Engine, channels: Sequence[str]) -> None:
    """Delete the lines that wait for channels that are not in the settings any more."""
    with database_errors(engine), engine.begin() as connection:
        connection.execute(_FORGET, {"channels": list(channels)})


def last_waiting_line(engine: Engine) -> int:
    """Return the number of the last line that waits to be sent, 0 if none waits."""
    with database_errors(engine), engine.connect() as connection:
        return int(connection.scalar(_WAITING) or 0)


@contextmanager
def claimed_lines(engine: Engine, limit: int, channel: str = "mail") -> Iterator[list[AlertLine]]:
    """Yield the oldest lines that wait for a channel; they are deleted when the block ends, and kept if it raises.

    No other process gets them in the meantime. If this process is killed, they are available again at once.
    """
    with database_errors(engine), engine.begin() as connection:
        rows = connection.execute(_CLAIM, {"limit": limit, "channel": channel}).all()
        yield [AlertLine(row.raised, row.line) for row in rows]
        if rows:
            connection.execute(_DELETE_LINES, {"ids": [row.id for row in rows]})
