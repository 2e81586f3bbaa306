"""Store readings in PostgreSQL, in the tables `readings` and `emm_poll`."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import pandas as pd
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from emm_pipeline.errors import StoreAccessError, StoreError
from emm_pipeline.postgres_errors import ACCESS_HINTS, explain, place, reason, sqlstate
from emm_pipeline.readings import READING_COLUMNS
from emm_pipeline.stores.base import RejectedPoints
from emm_pipeline.stores.postgresql.tables import WITH_SERIES, emm_poll, emm_poll_meter, readings, readings_series
from emm_pipeline.stores.postgresql.upsert import last_of_each, parameters, upsert
from emm_pipeline.stores.texts import one_line

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.dialects.postgresql import Insert

    from emm_pipeline.stores.points import PointBatch

BATCH_ROWS = 5000
STATEMENT_TIMEOUT_S = 30.0

_UPSERT_READINGS = upsert(readings, readings_series)
_UPSERT_POLLS = upsert(emm_poll, emm_poll_meter)

_LATEST = text(f"""{WITH_SERIES}    SELECT latest.* FROM series CROSS JOIN LATERAL (
        SELECT time, id, description, measurement, unit, value FROM readings
        WHERE (id, measurement, coalesce(unit, '')) = (series.id, series.measurement, series.unit)
        ORDER BY time DESC LIMIT 1) AS latest
    ORDER BY series.id, series.measurement, series.unit
    LIMIT :limit
""")  # noqa: S608 - both parts are constants

_BOUND = text("SELECT set_config('statement_timeout', :milliseconds, true)")

_REJECTED = frozenset({"22", "23", "54"})
"""Classes of SQLSTATE for invalid content: data exception, constraint violation, program limit exceeded."""


class PostgresReadingsStore:
    """A `ReadingsStore` in PostgreSQL.

    Args:
        engine: the database; `close` disposes of its connections.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def write(self, points: PointBatch, *, until: float = math.inf) -> list[RejectedPoints]:
        """See `ReadingsStore.write`."""
        rejected: list[RejectedPoints] = []
        # each statement writes one table
        for first, end in ((0, len(points.readings)), (len(points.readings), len(points))):
            for start in range(first, end, BATCH_ROWS):
                rejected += self._upsert(points[start : min(start + BATCH_ROWS, end)], until)
        return rejected

    def ping(self) -> None:
        """See `ReadingsStore.ping`. Also checks that the tables exist."""
        try:
            with self._engine.connect() as connection:
                connection.execute(text("SELECT FROM readings, emm_poll LIMIT 0"))
        except SQLAlchemyError as error:
            raise self._store_error(error) from error

    def latest(self, limit: int = 1000) -> pd.DataFrame:
        """Return the last point of each meter, measurement and unit, ordered by meter, with columns READING_COLUMNS.

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

    def _upsert(self, points: PointBatch, until: float) -> list[RejectedPoints]:
        """Write points of one table in one statement; if it is rejected, write each half, down to the invalid points.

        Raises:
            StoreError: the database did not accept the points, and may accept them later.
        """
        timeout_s = min(STATEMENT_TIMEOUT_S, until - time.monotonic())
        if timeout_s <= 0:
            raise StoreError(f"{self._where} has not accepted all points in the available time")
        try:
            with self._engine.begin() as connection:
                connection.execute(_BOUND, {"milliseconds": str(math.ceil(timeout_s * 1000))})
                connection.execute(*_statement(points))
        except SQLAlchemyError as error:
            if sqlstate(error)[:2] not in _REJECTED:
                raise self._store_error(error) from error
            if len(points) == 1:
                return [RejectedPoints(points, f"{self._where}: {one_line(reason(self._engine.url, error))}")]
            middle = len(points) // 2
            return self._upsert(points[:middle], until) + self._upsert(points[middle:], until)
        return []

    def _store_error(self, error: SQLAlchemyError) -> StoreError:
        kind = StoreAccessError if sqlstate(error) in ACCESS_HINTS else StoreError
        return kind(f"PostgreSQL at {explain(self._engine.url, error)}")

    @property
    def _where(self) -> str:
        return f"PostgreSQL at {place(self._engine.url)}"


def _statement(points: PointBatch) -> tuple[Insert, dict[str, Any]]:
    """Return the statement for points of one table. Of several points with the same key, only the last is written."""
    if len(points.readings):
        rows = points.readings
        key = rows.time, rows.id, rows.measurement.codes, rows.unit.codes
        return _UPSERT_READINGS, parameters(rows[last_of_each(*key)])
    polls = points.polls
    return _UPSERT_POLLS, parameters(polls[last_of_each(polls.time, polls.id)])
