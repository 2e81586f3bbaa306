"""The energy of an hour and of a day of a large fleet, and a backfill of a year, from readings in PostgreSQL."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from sqlalchemy import text

from benchmarks.database import configuration_database
from benchmarks.memory import forget_peak, peak_mib
from benchmarks.results import Row, at_most, info
from emm_pipeline.energy.periods import Period, edges_between
from emm_pipeline.energy.running import EnergyRun
from emm_pipeline.stores.postgresql.history import PostgresHistory

if TYPE_CHECKING:
    from sqlalchemy import Engine

UTC_ZONE = ZoneInfo("UTC")
BEGIN = date(2026, 3, 1)
COUNTERS = 4
USUAL_MS = 1_800_000

_FILL = text("""
    INSERT INTO readings
    SELECT time, meter, 'meter ' || meter, 'counter' || counter || 'Energy', 'kWh', 1000 + meter + number * 0.01
    FROM generate_series(:first, :last) AS meter, generate_series(1, :counters) AS counter,
        generate_series(CAST(:begin AS timestamptz), :end, CAST(:every AS interval))
        WITH ORDINALITY AS every(time, number)
""")


def energy(*, quick: bool) -> list[Row]:
    """Compute energies of simulated readings, one each minute for an hour and a day, one each 15 minutes for a year."""
    meters = 100 if quick else 1000
    with configuration_database() as engine:
        return [*_hour_and_day(engine, meters), *_year(engine, 5 if quick else 50)]


def _hour_and_day(engine: Engine, meters: int) -> list[Row]:
    begin = datetime(BEGIN.year, BEGIN.month, BEGIN.day, tzinfo=UTC)
    rows: list[Row] = []
    for part in (meters // 10, meters):
        _fill(engine, (1, part), begin, begin + timedelta(hours=4), "1 minute")
        edges = edges_between(Period.HOUR, BEGIN, BEGIN + timedelta(days=1), UTC_ZONE)[1:3]
        elapsed, cpu = _measured(engine, edges)
        name = f"energy: an hour of {part} meters × {COUNTERS} counters × 60 readings"
        rows += [
            at_most(f"{name}, CPU", cpu, "s", 10.0) if part == meters else info(f"{name}, CPU", cpu, "s"),
            info(f"{name}, elapsed", elapsed, "s"),
        ]
    _fill(engine, (1, meters // 10), begin, begin + timedelta(hours=25), "1 minute")
    edges = edges_between(Period.HOUR, BEGIN, BEGIN + timedelta(days=1), UTC_ZONE)
    _, cpu = _measured(engine, edges)
    return [*rows, info(f"energy: a day of {meters // 10} meters × {COUNTERS} counters × 1440 readings, CPU", cpu, "s")]


def _year(engine: Engine, meters: int) -> list[Row]:
    begin = datetime(2025, 1, 1, tzinfo=UTC)
    _fill(engine, (1, meters), begin, begin + timedelta(days=365), "15 minutes", counters=1)
    forget_peak()
    elapsed, cpu = _measured(engine, edges_between(Period.HOUR, begin.date(), date(2026, 1, 1), UTC_ZONE))
    memory = peak_mib()
    name = f"energy: backfill of a year of {meters} meters, a reading each 15 minutes"
    return [
        info(f"{name}, elapsed", elapsed, "s"),
        info(f"{name}, CPU", cpu, "s"),
        at_most(f"{name}, peak memory of the process", memory, "MiB", 1500.0),
    ]


def _fill(
    engine: Engine, ids: tuple[int, int], begin: datetime, end: datetime, every: str, counters: int = COUNTERS
) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("TRUNCATE readings, emm_energy, energy_open, energy_recomputations")
        values = {"first": ids[0], "last": ids[1], "begin": begin, "end": end, "every": every, "counters": counters}
        connection.execute(_FILL, values)
        connection.exec_driver_sql("ANALYZE readings")


def _measured(engine: Engine, edges: list[int]) -> tuple[float, float]:
    """Return the elapsed time and the CPU time of this process, in seconds, of computing and storing hours."""
    began, cpu = time.perf_counter(), time.process_time()
    summary = EnergyRun(PostgresHistory(engine), engine, UTC_ZONE, USUAL_MS).hours(edges)
    assert summary.rows
    return time.perf_counter() - began, time.process_time() - cpu
