"""The tables `readings`, `emm_poll` and `emm_energy`, which the migrations in `config_db` create.

A test compares both definitions. People may read these tables; only the pipeline writes them.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, DateTime, Double, Index, Integer, MetaData, Table, Text, func, literal_column

metadata = MetaData()

readings = Table(
    "readings",
    metadata,
    Column("time", DateTime(timezone=True), nullable=False),
    Column("id", Integer, nullable=False),
    Column("description", Text),
    Column("measurement", Text, nullable=False),
    Column("unit", Text),
    Column("value", Double, nullable=False),
)
"""One row per point of a measurement. A point written again replaces itself."""

readings_series = Index(
    "readings_series",
    readings.c.id,
    readings.c.measurement,
    func.coalesce(readings.c.unit, literal_column("''")),
    readings.c.time,
    unique=True,
)
"""The key of a point; the index also finds the last point of a series."""

emm_poll = Table(
    "emm_poll",
    metadata,
    Column("time", DateTime(timezone=True), nullable=False),
    Column("id", Integer, nullable=False),
    Column("description", Text),
    Column("ok", Boolean, nullable=False),
    Column("latency_ms", Double),
    Column("requests", Integer),
    Column("points", Integer),
    Column("error", Text),
    Column("status", Text),
)
"""One row per poll of each meter, with its result."""

emm_poll_meter = Index("emm_poll_meter", emm_poll.c.id, emm_poll.c.time, unique=True)
"""The key of a point."""

emm_energy = Table(
    "emm_energy",
    metadata,
    Column("time", DateTime(timezone=True), nullable=False),
    Column("id", Integer, nullable=False),
    Column("description", Text),
    Column("measurement", Text, nullable=False),
    Column("dataunit", Text, nullable=False),
    Column("period", Text, nullable=False),
    Column("energy", Double, nullable=False),
    Column("coverage", Double, nullable=False),
    Column("cost", Double),
    Column("estimated", Double, nullable=False),
    Column("readings", Integer, nullable=False),
    Column("flags", Text),
)
"""The energy of each hour, day and month: one row per meter, counter and interval. `time` is its beginning."""

emm_energy_interval = Index(
    "emm_energy_interval",
    emm_energy.c.period,
    emm_energy.c.time,
    emm_energy.c.id,
    emm_energy.c.measurement,
    emm_energy.c.dataunit,
    unique=True,
)
"""The key of an energy. It begins with the time, because a run reads and writes all meters of an interval."""

# It goes from one series to the next in the index `readings_series`; DISTINCT would read the whole table.
WITH_SERIES = """
    WITH RECURSIVE series AS (
        (SELECT id, measurement, coalesce(unit, '') AS unit FROM readings
         ORDER BY id, measurement, coalesce(unit, '') LIMIT 1)
        UNION ALL
        SELECT next.* FROM series CROSS JOIN LATERAL (
            SELECT id, measurement, coalesce(unit, '') FROM readings
            WHERE (id, measurement, coalesce(unit, '')) > (series.id, series.measurement, series.unit)
            ORDER BY id, measurement, coalesce(unit, '') LIMIT 1) AS next
    )
"""
"""The beginning of a query: the series in `readings`, as `series` (id, measurement, unit; an empty unit for NULL)."""
