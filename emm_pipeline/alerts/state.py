"""The troubles that people were told of, and the lines that wait to be mailed: tables `troubles`, `mail_lines`.

Both outlive runs, so that a change is told once, whatever is killed, and a mail server that is away costs no line.
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

# A meter that was never polled, or is gone from energy_meters, is in no trouble that one can mend.
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


def meter_states(engine: Engine) -> list[Condition]:
    """How the meters are that fail, or that people were told of.

    Raises:
        ConfigDatabaseError: The database cannot be read. Like all functions here.
    """
    with database_errors(engine), engine.connect() as connection:
        return [
            Condition(
                subject=row.subject,
                name=row.subject + (f" ({row.description})" if row.description else ""),
                failures=row.failed_samples,
                since=row.failed_samples_since,
                reason=row.failed_sample_reason,
                well_at=row.last_read_at,
            )
            for row in connection.execute(_METERS)
        ]


def told_troubles(engine: Engine) -> list[Alert]:
    """The troubles that people were told of and that did not end yet."""
    with database_errors(engine), engine.connect() as connection:
        return [Alert(*row) for row in connection.execute(_TOLD)]


def save_news(engine: Engine, news: AlertChanges, lines: Sequence[AlertLine]) -> None:
    """Keep what changed, and the lines that tell it, both or neither."""
    with database_errors(engine), engine.begin() as connection:
        for trouble in news.begun:
            values = {"name": storable(trouble.name), "reason": storable(trouble.reason)}
            connection.execute(_ADD, {"subject": trouble.subject, "since": trouble.since, **values})
        for trouble in (*news.ended, *news.dropped):
            connection.execute(_REMOVE, {"subject": trouble.subject})
        for line in lines:
            connection.execute(_ADD_LINE, {"begun": line.begun, "line": storable(line.text)})


def last_waiting_line(engine: Engine) -> int:
    """The number of the last line that waits to be mailed; 0 where none does."""
    with database_errors(engine), engine.connect() as connection:
        return int(connection.scalar(_WAITING) or 0)


@contextmanager
def claimed_lines(engine: Engine, limit: int) -> Iterator[list[AlertLine]]:
    """Yield the oldest lines that wait; they are gone once the block ends well, and wait on if it raises.

    Nobody else gets them meanwhile; if this process is killed they are free again at once.
    """
    with database_errors(engine), engine.begin() as connection:
        rows = connection.execute(_CLAIM, {"limit": limit}).all()
        yield [AlertLine(row.begun, row.line) for row in rows]
        if rows:
            connection.execute(_DELETE_LINES, {"ids": [row.id for row in rows]})
