"""Read readings from PostgreSQL, and read and write energies."""

from __future__ import annotations

from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from psycopg2 import Error
from sqlalchemy import select, text
from sqlalchemy.exc import SQLAlchemyError

from emm_pipeline.errors import StoreError
from emm_pipeline.postgres_errors import explain, place
from emm_pipeline.stores.energy_points import EnergyPoints
from emm_pipeline.stores.history import History, Selection, StoredSeries
from emm_pipeline.stores.postgresql.tables import WITH_SERIES, emm_energy, emm_energy_interval
from emm_pipeline.stores.postgresql.upsert import last_of_each, parameters, upsert
from emm_pipeline.stores.texts import one_line

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from sqlalchemy import Connection, Engine

BATCH_ROWS = 5000
EXPORTED_MS = 86_400_000
"""The part of the time that an export reads at once: a day."""
_DELETED_ROWS = 50_000

_UPSERT = upsert(emm_energy, emm_energy_interval)

_SERIES = text(f"""{WITH_SERIES}    SELECT id, measurement, nullif(unit, '') FROM series
    WHERE (CAST(:unit AS text) IS NULL OR unit ~ :unit)
        AND (CAST(:measurement AS text) IS NULL OR measurement = :measurement)
        AND (CAST(:ids AS integer[]) IS NULL OR id = ANY(:ids))
    ORDER BY 1, 2, 3
""")  # noqa: S608 - both parts are constants

_READ = """
    COPY (
        SELECT (wanted.code - 1)::bigint, (extract(epoch FROM found.time) * 1000)::bigint, found.value::float8
        FROM unnest(%(ids)s::integer[], %(measurements)s::text[], %(units)s::text[])
            WITH ORDINALITY AS wanted(id, measurement, unit, code)
        CROSS JOIN LATERAL (
            SELECT time, value FROM readings
            WHERE (id, measurement, coalesce(unit, '')) = (wanted.id, wanted.measurement, wanted.unit)
                AND time >= to_timestamp(%(begin)s / 1000.0) AND time < to_timestamp(%(end)s / 1000.0)
            ORDER BY time {order} LIMIT %(count)s
        ) AS found
    ) TO STDOUT (FORMAT binary)
"""
_HEADER_BYTES, _TRAILER_BYTES = 19, 2
_LENGTH = ">i4"
_ROW = np.dtype(
    [
        *(("columns", ">i2"), ("length of code", _LENGTH), ("code", ">i8")),
        *(("length of time", _LENGTH), ("time", ">i8"), ("length of value", _LENGTH), ("value", ">f8")),
    ]
)
"""PostgreSQL's binary format of COPY: exact, and NumPy reads it at once. No column is null."""
_ALWAYS = -(2**45), 2**45
"""Times in milliseconds before and after all readings."""


class PostgresHistory:
    """A `HistoryStore` in PostgreSQL.

    Args:
        engine: The database; `close` disposes of its connections.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def read(self, selection: Selection, begin: int, end: int) -> History:
        """See `HistoryStore.read`."""
        with self._connection() as connection:
            return _read(connection, _series_of(connection, selection), begin, end)

    def read_before(self, selection: Selection, time: int, count: int, within: int | None = None) -> History:
        """See `HistoryStore.read_before`."""
        since = _ALWAYS[0] if within is None else time - within
        with self._connection() as connection:
            return _read(connection, _series_of(connection, selection), since, time, order="DESC", count=count)

    def read_after(self, selection: Selection, time: int, count: int) -> History:
        """See `HistoryStore.read_after`."""
        with self._connection() as connection:
            return _read(connection, _series_of(connection, selection), time, _ALWAYS[1], count=count)

    def first_time(self) -> int | None:
        """See `HistoryStore.first_time`."""
        found = self.read_after(Selection("^[kMG]?(Wh|varh|VAh|W)$"), _ALWAYS[0], 1)
        return int(found.time.min()) if len(found) else None

    def read_energy(self, period: str, begin: int, end: int, ids: Collection[int] | None = None) -> EnergyPoints:
        """See `HistoryStore.read_energy`."""
        times = (text("to_timestamp(:begin / 1000.0)"), text("to_timestamp(:end / 1000.0)"))
        query = select(*emm_energy.c).where(
            emm_energy.c.period == period, emm_energy.c.time >= times[0], emm_energy.c.time < times[1]
        )
        if ids is not None:
            query = query.where(emm_energy.c.id.in_(ids))
        with self._connection() as connection:
            rows = connection.execute(query, {"begin": begin, "end": end}).mappings().all()
        return EnergyPoints.of({**row, "time": round(row["time"].timestamp() * 1000)} for row in rows)

    def write_energy(self, points: EnergyPoints) -> None:
        """See `HistoryStore.write_energy`."""
        with self._connection() as connection:
            for start in range(0, len(points), BATCH_ROWS):
                rows = points[start : start + BATCH_ROWS]
                texts = rows.measurement.codes, rows.dataunit.codes, rows.period.codes
                connection.execute(_UPSERT, parameters(rows[last_of_each(rows.time, rows.id, *texts)]))

    def delete_readings(self, before: int) -> int:
        """See `HistoryStore.delete_readings`. In parts, so that no transaction takes long."""
        deleted = 0
        for table in ("readings", "emm_poll"):
            statement = text(
                f"DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} "  # noqa: S608 - our own names
                "WHERE time < to_timestamp(:before / 1000.0) LIMIT :rows))"
            )
            while True:
                with self._connection() as connection:
                    rows = connection.execute(statement, {"before": before, "rows": _DELETED_ROWS}).rowcount
                deleted += rows
                if rows < _DELETED_ROWS:
                    break
        return deleted

    def export(self, selection: Selection, begin: int, end: int) -> Iterator[History]:
        """See `HistoryStore.export`."""
        with self._connection() as connection:
            series = _series_of(connection, selection)
        for start in range(begin, end, EXPORTED_MS):
            with self._connection() as connection:
                yield _read(connection, series, start, min(start + EXPORTED_MS, end))

    def close(self) -> None:
        """See `HistoryStore.close`."""
        self._engine.dispose()

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise StoreError(f"PostgreSQL at {explain(self._engine.url, error)}") from error
        except Error as error:
            where = place(self._engine.url)
            raise StoreError(f"PostgreSQL at {where}: {one_line(str(error))}") from error


def _series_of(connection: Connection, selection: Selection) -> list[StoredSeries]:
    values: dict[str, Any] = {"unit": selection.unit, "measurement": selection.measurement}
    values["ids"] = None if selection.ids is None else list(selection.ids)
    return [StoredSeries(*row) for row in connection.execute(_SERIES, values)]


def _read(  # noqa: PLR0913 - the parts of a query
    connection: Connection,
    series: Sequence[StoredSeries],
    begin: int,
    end: int,
    *,
    order: str = "ASC",
    count: int | None = None,
) -> History:
    values = {
        "ids": [each.id for each in series],
        "measurements": [each.measurement for each in series],
        "units": [each.unit or "" for each in series],
        "begin": begin,
        "end": end,
        "count": count,
    }
    found = BytesIO()
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor:
        cursor.copy_expert(cursor.mogrify(_READ.format(order=order), values).decode(), found)
    rows = np.frombuffer(found.getbuffer()[_HEADER_BYTES:-_TRAILER_BYTES], _ROW)
    columns = (rows["code"].astype(np.int64), rows["time"].astype(np.int64), rows["value"].astype(np.float64))
    return History(tuple(series), *columns)
