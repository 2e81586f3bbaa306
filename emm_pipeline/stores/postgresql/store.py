"""Readings in PostgreSQL, in the tables `readings` and `emm_poll` that config_db's migrations make."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import pandas as pd
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from emm_pipeline.errors import StoreAccessError, StoreError
from emm_pipeline.readings import READING_COLUMNS
from emm_pipeline.stores.base import RejectedPoint
from emm_pipeline.stores.influxdb.line_protocol import ParsedPoll, ParsedReading, parse_line
from emm_pipeline.stores.points import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine, TextClause

BATCH_ROWS = 5000
STATEMENT_TIMEOUT_S = 30.0

# One array per column and statement. `time` travels as whole milliseconds since 1970: exact, and quickly bound.
_UPSERT_READINGS = text("""
    INSERT INTO readings (time, id, description, measurement, unit, value)
    SELECT timestamptz 'epoch' + time * interval '1 millisecond', id, description, measurement, unit, value
    FROM unnest(CAST(:time AS bigint[]), CAST(:id AS bigint[]), CAST(:description AS text[]),
                CAST(:measurement AS text[]), CAST(:unit AS text[]), CAST(:value AS double precision[]))
         AS batch (time, id, description, measurement, unit, value)
    ON CONFLICT (id, measurement, coalesce(unit, ''), time)
    DO UPDATE SET description = excluded.description, value = excluded.value
""")

_UPSERT_POLLS = text("""
    INSERT INTO emm_poll (time, id, description, ok, latency_ms, requests, points, error)
    SELECT timestamptz 'epoch' + time * interval '1 millisecond',
           id, description, ok, latency_ms, requests, points, error
    FROM unnest(CAST(:time AS bigint[]), CAST(:id AS bigint[]), CAST(:description AS text[]),
                CAST(:ok AS boolean[]), CAST(:latency_ms AS double precision[]), CAST(:requests AS integer[]),
                CAST(:points AS integer[]), CAST(:error AS text[]))
         AS batch (time, id, description, ok, latency_ms, requests, points, error)
    ON CONFLICT (id, time)
    DO UPDATE SET description = excluded.description, ok = excluded.ok, latency_ms = excluded.latency_ms,
                  requests = excluded.requests, points = excluded.points, error = excluded.error
""")

_LATEST = text("""
    SELECT DISTINCT ON (id, measurement, coalesce(unit, '')) time, id, description, measurement, unit, value
    FROM readings
    ORDER BY id, measurement, coalesce(unit, ''), time DESC
    LIMIT :limit
""")

_BOUND = text("SELECT set_config('statement_timeout', :milliseconds, true)")

_REFUSED = frozenset({"22", "23", "54"})
"""Classes of SQLSTATE that blame the content: data exception, constraint violation, program limit exceeded."""
_ADVICE = {
    "42P01": 'a table is missing: run "emm db upgrade"',
    "42501": "give POSTGRES_USER the right to do so",
}


_Row = tuple[str, ParsedReading | ParsedPoll]
"""A point, and the line that it came in."""


class PostgresReadingsStore:
    """A `ReadingsStore` in PostgreSQL.

    Args:
        engine: the database; `close` disposes of its connections.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def write(self, lines: Sequence[str], *, until: float = math.inf) -> list[RejectedPoint]:
        """See `ReadingsStore.write`."""
        refused: list[RejectedPoint] = []
        # Of lines with one key the last counts: a statement may not touch a row twice.
        readings: dict[object, _Row] = {}
        polls: dict[object, _Row] = {}
        for line in lines:
            try:
                point = parse_line(line)
            except ValueError as error:
                refused.append(RejectedPoint(line, str(error)))
            else:
                if isinstance(point, ParsedReading):
                    readings[point.time, point.id, point.measurement, point.unit] = line, point
                else:
                    polls[point.time, point.id] = line, point
        for statement, rows in ((_UPSERT_READINGS, list(readings.values())), (_UPSERT_POLLS, list(polls.values()))):
            for start in range(0, len(rows), BATCH_ROWS):
                refused += self._upsert(statement, rows[start : start + BATCH_ROWS], until)
        return refused

    def ping(self) -> None:
        """See `ReadingsStore.ping`. Asks for the tables too."""
        try:
            with self._engine.connect() as connection:
                connection.execute(text("SELECT FROM readings, emm_poll LIMIT 0"))
        except SQLAlchemyError as error:
            raise self._store_error(error) from error

    def latest(self, limit: int = 1000) -> pd.DataFrame:
        """The last point of each meter, measurement and unit, by meter; columns READING_COLUMNS.

        Raises:
            StoreError: the database did not answer.
        """
        try:
            with self._engine.connect() as connection:
                rows = connection.execute(_LATEST, {"limit": limit}).all()
        except SQLAlchemyError as error:
            raise self._store_error(error) from error
        frame = pd.DataFrame(rows, columns=list(READING_COLUMNS), dtype=object)
        time = pd.to_datetime(frame["time"], utc=True).dt.as_unit("ms")
        return frame.assign(time=time).astype({"id": "int64", "value": "float64"})

    def close(self) -> None:
        """See `ReadingsStore.close`."""
        self._engine.dispose()

    def _upsert(self, statement: TextClause, rows: list[_Row], until: float) -> list[RejectedPoint]:
        """Writes rows in one statement; of rows that are refused, each half on its own, down to the ones at fault.

        Raises:
            StoreError: the database did not take them, and may later.
        """
        timeout_s = min(STATEMENT_TIMEOUT_S, until - time.monotonic())
        if timeout_s <= 0:
            raise StoreError(f"{self._where} has not taken everything in the time that there was")
        points = [point for _, point in rows]
        columns = dict(zip(points[0]._fields, map(list, zip(*points, strict=True)), strict=True))
        try:
            with self._engine.begin() as connection:
                connection.execute(_BOUND, {"milliseconds": str(math.ceil(timeout_s * 1000))})
                connection.execute(statement, columns)
        except SQLAlchemyError as error:
            if _sqlstate(error)[:2] not in _REFUSED:
                raise self._store_error(error) from error
            if len(rows) == 1:
                return [RejectedPoint(rows[0][0], f"{self._where}: {_reason(error)}")]
            middle = len(rows) // 2
            return self._upsert(statement, rows[:middle], until) + self._upsert(statement, rows[middle:], until)
        return []

    def _store_error(self, error: SQLAlchemyError) -> StoreError:
        return (StoreAccessError if _sqlstate(error) in _ADVICE else StoreError)(self._explain(error))

    @property
    def _where(self) -> str:
        url = self._engine.url
        host = url.host or url.query.get("host") or "localhost"
        return f"PostgreSQL at {host}:{url.port or 5432}/{url.database}"

    def _explain(self, error: SQLAlchemyError) -> str:
        state = _sqlstate(error)
        # a connection that could not be made has no SQLSTATE
        advice = _ADVICE.get(state, "" if state else "is PostgreSQL running, and are POSTGRES_* right?")
        reason = _reason(error)
        if self._engine.url.password:
            reason = reason.replace(self._engine.url.password, "***")
        return f"{self._where}: {reason}" + (f" ({advice})" if advice else "")


def _sqlstate(error: SQLAlchemyError) -> str:
    state = getattr(error.orig, "pgcode", None) if isinstance(error, DBAPIError) else None
    return state or ""


def _reason(error: SQLAlchemyError) -> str:
    """PostgreSQL's own words, without SQLAlchemy's copy of the statement and its parameters."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return one_line(cause)
