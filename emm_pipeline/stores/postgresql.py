"""Readings in PostgreSQL, in the tables `readings` and `emm_poll` that config_db's migrations make."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from emm_pipeline.errors import RefusedPointsError, StoreError
from emm_pipeline.readings import READING_COLUMNS
from emm_pipeline.stores.points import (
    UnstorableTextError,
    is_unicode,
    listed,
    milliseconds,
    one_line,
    since_epoch,
    text_or_none,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Engine, TextClause

    from emm_pipeline.readings import PollRecord

Row = tuple[object, ...]
BATCH_ROWS = 5000

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
_READING = ("time", "id", "description", "measurement", "unit", "value")

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
_POLL = ("time", "id", "description", "ok", "latency_ms", "requests", "points", "error")

_LATEST = text("""
    SELECT DISTINCT ON (id, measurement, coalesce(unit, '')) time, id, description, measurement, unit, value
    FROM readings
    ORDER BY id, measurement, coalesce(unit, ''), time DESC
    LIMIT :limit
""")

_REFUSED = frozenset({"22", "23", "54"})
"""Classes of SQLSTATE that blame the content: data exception, constraint violation, program limit exceeded."""
_ADVICE = {
    "42P01": 'a table is missing: run "emm db upgrade"',
    "42501": "give POSTGRES_USER the right to do so",
}


class PostgresReadingsStore:
    """A `ReadingsStore` in PostgreSQL.

    Args:
        engine: the database; `close` disposes of its connections.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def write(self, readings: pd.DataFrame, polls: Sequence[PollRecord]) -> None:
        """See `ReadingsStore.write`."""
        refused: list[str] = []
        for statement, names, rows in (
            (_UPSERT_READINGS, _READING, _reading_rows(readings, refused)),
            (_UPSERT_POLLS, _POLL, _poll_rows(polls, refused)),
        ):
            for start in range(0, len(rows), BATCH_ROWS):
                self._upsert(statement, names, rows[start : start + BATCH_ROWS], refused)
        if refused:
            raise RefusedPointsError(f"{self._where} refused points, and has all others: {listed(refused)}")

    def ping(self) -> None:
        """See `ReadingsStore.ping`. Asks for the tables too."""
        try:
            with self._engine.connect() as connection:
                connection.execute(text("SELECT FROM readings, emm_poll LIMIT 0"))
        except SQLAlchemyError as error:
            raise StoreError(self._explain(error)) from error

    def latest(self, limit: int = 1000) -> pd.DataFrame:
        """The last point of each meter, measurement and unit, by meter; columns READING_COLUMNS.

        Raises:
            StoreError: the database did not answer.
        """
        try:
            with self._engine.connect() as connection:
                rows = connection.execute(_LATEST, {"limit": limit}).all()
        except SQLAlchemyError as error:
            raise StoreError(self._explain(error)) from error
        frame = pd.DataFrame(rows, columns=list(READING_COLUMNS), dtype=object)
        time = pd.to_datetime(frame["time"], utc=True).dt.as_unit("ms")
        return frame.assign(time=time).astype({"id": "int64", "value": "float64"})

    def close(self) -> None:
        """See `ReadingsStore.close`."""
        self._engine.dispose()

    def _upsert(self, statement: TextClause, names: tuple[str, ...], rows: list[Row], refused: list[str]) -> None:
        """Writes rows in one statement; of rows that are refused, each half on its own, down to the ones at fault.

        Raises:
            StoreError: the database did not take them, and may later.
        """
        columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
        try:
            with self._engine.begin() as connection:
                connection.execute(statement, columns)
        except SQLAlchemyError as error:
            if _sqlstate(error)[:2] not in _REFUSED:
                raise StoreError(self._explain(error)) from error
            if len(rows) > 1:
                middle = len(rows) // 2
                self._upsert(statement, names, rows[:middle], refused)
                self._upsert(statement, names, rows[middle:], refused)
            else:
                refused.append(f"meter {columns['id'][0]}: {_reason(error)}")

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


def _reading_rows(readings: pd.DataFrame, refused: list[str]) -> list[Row]:
    """Rows for `_UPSERT_READINGS`, the last of those with one key: a statement may not touch a row twice."""
    rows: dict[tuple[object, ...], Row] = {}
    columns = (readings[name].tolist() for name in ("id", "description", "measurement", "unit", "value"))
    for time, meter_id, *texts, value in zip(milliseconds(readings["time"]), *columns, strict=True):
        if not math.isfinite(value):
            continue
        try:
            description, measurement, unit = map(_storable, ("description", "measurement", "unit"), texts)
        except UnstorableTextError as error:
            refused.append(f"meter {meter_id}: {error}")
        else:
            rows[time, meter_id, measurement, unit] = (time, meter_id, description, measurement, unit, value)
    return list(rows.values())


def _poll_rows(polls: Iterable[PollRecord], refused: list[str]) -> list[Row]:
    """Rows for `_UPSERT_POLLS`, the last of those with one key."""
    rows: dict[tuple[int, int], Row] = {}
    for poll in polls:
        try:
            description, error = _storable("description", poll.description), _storable("error", poll.error)
        except UnstorableTextError as reason:
            refused.append(f"meter {poll.id}: {reason}")
            continue
        time = since_epoch(poll.time)
        latency_ms = poll.latency_ms if math.isfinite(poll.latency_ms) else None
        outcome = (poll.ok, latency_ms, poll.requests, poll.points, error)
        rows[poll.id, time] = (time, poll.id, description, *outcome)
    return list(rows.values())


def _storable(column: str, cell: object) -> str | None:
    value = text_or_none(cell)
    if value is not None and ("\0" in value or not is_unicode(value)):
        raise UnstorableTextError(column, value, "holds NUL or invalid Unicode, which PostgreSQL cannot store")
    return value


def _sqlstate(error: SQLAlchemyError) -> str:
    state = getattr(error.orig, "pgcode", None) if isinstance(error, DBAPIError) else None
    return state or ""


def _reason(error: SQLAlchemyError) -> str:
    """PostgreSQL's own words, without SQLAlchemy's copy of the statement and its parameters."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return one_line(cause)
