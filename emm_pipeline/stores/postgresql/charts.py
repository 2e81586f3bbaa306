"""Read points of the tables `readings` and `emm_poll`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from emm_pipeline.errors import StoreError
from emm_pipeline.postgres_errors import explain
from emm_pipeline.stores.charts import FailedPoll, Step
from emm_pipeline.stores.points import PointBatch

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from sqlalchemy import Engine, Row, TextClause

    from emm_pipeline.stores.charts import Series

STATEMENT_TIMEOUT_MS = 10_000

_STEPS = text("""
    SELECT CAST(extract(epoch FROM date_bin(make_interval(secs => :step), time, TIMESTAMPTZ 'epoch')) AS bigint) AS at,
           avg(value) AS mean, min(value) AS low, max(value) AS high
    FROM readings
    WHERE id = :id AND measurement = :measurement AND coalesce(unit, '') = :unit AND time >= :start AND time < :end
    GROUP BY 1 ORDER BY 1
""")
_FAILED = text("""
    SELECT time, error FROM emm_poll WHERE id = :id AND time >= :start AND NOT ok ORDER BY time DESC LIMIT :limit
""")
_LATEST = text("""
    SELECT DISTINCT ON (id, measurement, coalesce(unit, '')) time, id, description, measurement, unit, value
    FROM readings WHERE id = ANY(:ids) AND time >= :since
    ORDER BY id, measurement, coalesce(unit, ''), time DESC
""")
_LIMIT_TIME = text("SELECT set_config('statement_timeout', :milliseconds, true)")


class PostgresCharts:
    """A `ChartData` in PostgreSQL."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def steps(self, series: Series, start: datetime, end: datetime, step_s: int) -> Sequence[Step]:
        """See `ChartData.steps`."""
        rows = self._rows(
            _STEPS,
            step=step_s,
            id=series.meter_id,
            measurement=series.measurement,
            unit=series.unit or "",
            start=start,
            end=end,
        )
        return [Step(row.at, row.mean, row.low, row.high) for row in rows]

    def failed_polls(self, meter_id: int, start: datetime, limit: int) -> Sequence[FailedPoll]:
        """See `ChartData.failed_polls`."""
        return [FailedPoll(row.time, row.error) for row in self._rows(_FAILED, id=meter_id, start=start, limit=limit)]

    def latest(self, meter_ids: Collection[int], since: datetime) -> PointBatch:
        """See `ChartData.latest`."""
        rows = self._rows(_LATEST, ids=sorted(meter_ids), since=since)
        return PointBatch.of({**row._asdict(), "time": round(row.time.timestamp() * 1000)} for row in rows)

    def _rows(self, statement: TextClause, **values: Any) -> Sequence[Row[Any]]:
        try:
            with self._engine.begin() as connection:
                connection.execute(_LIMIT_TIME, {"milliseconds": str(STATEMENT_TIMEOUT_MS)})
                return connection.execute(statement, values).all()
        except SQLAlchemyError as error:
            raise StoreError(f"PostgreSQL at {explain(self._engine.url, error)}") from error
