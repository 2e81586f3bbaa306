"""Scheduled polls of the whole product: time from a tick to its last point in InfluxDB, and the idle load."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.product import product
from benchmarks.results import Row, at_most, info
from benchmarks.simulator import Fleet
from benchmarks.ticks import let_tick, next_minute, sleep_until, what_ticks_took

if TYPE_CHECKING:
    from benchmarks.product import Product

REGISTERS = 20
TICKS, QUICK_TICKS = 5, 1
"""Ticks that are measured, after a first one that warms up."""
SETTLE = timedelta(seconds=60)
"""Time until the discovery and the first poll have no more effect on the idle load."""
MOST_IDLE_PERCENT, QUICK_MOST_IDLE_PERCENT = 2.0, 10.0
"""CPU of EMM's processes and PostgreSQL's while nothing is due, in percent of a core; shortly after the start, more."""
MOST_IDLE_MB, QUICK_MOST_IDLE_MB = 450.0, 700.0
MOST_FIRST_REQUEST_S, QUICK_MOST_FIRST_REQUEST_S = 0.5, 3.0
"""Time from the tick at second 0 to the first request, median."""


def scheduled(*, quick: bool) -> list[Row]:
    """1 meter, then 1000, polled by the schedule each minute; CPU is that of all processes over a minute.

    All processes are daemon, webserver, code server with its runs, PostgreSQL with its backends, InfluxDB and nginx,
    but not the simulator. "Idle" is a minute with the schedules switched off. "Between polls" is the rest of a minute
    after the runs of its tick have ended, with discovery and poll switched on. `quick` measures one tick over 100
    meters.
    """
    from support.influxdb import ServerMissingError

    try:
        if quick:
            return _quick()
        meters = 1000
        with product(Fleet(meters), REGISTERS) as everything:
            everything.add_meters(everything.meters[:1])
            everything.run("poll")
            sleep_until(datetime.now(UTC) + SETTLE)
            idle, rows = _idle(everything, 60, "idle", (MOST_IDLE_PERCENT, MOST_IDLE_MB))
            rows += _ticks(everything, 1, TICKS, idle, 3.0)
            everything.add_meters(everything.meters[1:])
            rows += _ticks(everything, meters, TICKS, idle, 5.0, 6.0, MOST_FIRST_REQUEST_S)
            rows += _between_polls(everything)
    except ServerMissingError as err:
        print(f"scheduled: skipped, {err}")
        return []
    return rows


def _quick() -> list[Row]:
    meters = 100
    with product(Fleet(meters), REGISTERS) as everything:
        everything.add_meters(everything.meters)
        everything.run("poll")
        idle, rows = _idle(everything, 20, "idle", (QUICK_MOST_IDLE_PERCENT, QUICK_MOST_IDLE_MB))
        return rows + _ticks(everything, meters, QUICK_TICKS, idle, 5.0, 6.0, QUICK_MOST_FIRST_REQUEST_S)


def _between_polls(product: Product) -> list[Row]:
    """Measure from 20 to 55 s after a tick of both schedules."""
    tick = next_minute()
    for schedule in ("discovery_schedule", "poll_schedule"):
        product.stack.ui.toggle(schedule, on=True)
    sleep_until(tick + timedelta(seconds=20))
    _, rows = _idle(product, 35, "between polls, schedules on")
    for schedule in ("discovery_schedule", "poll_schedule"):
        product.stack.ui.toggle(schedule, on=False)
    return rows


def _idle(
    product: Product, seconds: int, what: str, most: tuple[float, float] | None = None
) -> tuple[float, list[Row]]:
    """Measure CPU and memory. Returns the CPU seconds of all processes in a minute, and rows.

    `most` are the targets for all processes but the store's together: CPU in percent, and memory in MB.
    """
    before, started = product.cpu_seconds(), datetime.now(UTC)
    sleep_until(started + timedelta(seconds=seconds))
    after = product.cpu_seconds()
    memory = product.memory_mb()
    percent = {name: 100 * (after[name] - before[name]) / seconds for name in after}
    rows = [info(f"{what}: CPU of {name}", used, "%") for name, used in percent.items()]
    rows += [info(f"{what}: proportional memory of {name}", used, "MB") for name, used in memory.items()]
    if most:
        used, mb = (sum(each[name] for name in each if name != "influxdb") for each in (percent, memory))
        rows += [
            at_most(f"{what}: CPU of all these but InfluxDB", used, "%", most[0]),
            at_most(f"{what}: proportional memory of all these but InfluxDB", mb, "MB", most[1]),
        ]
    return 60 * sum(percent.values()) / 100, rows


def _ticks(
    product: Product,
    meters: int,
    count: int,
    idle_cpu_s: float,
    most_s: float,
    most_cpu_s: float | None = None,
    most_first_s: float | None = None,
) -> list[Row]:
    """Measure ticks of the schedule, and return medians of `count` ticks after a first one that warms up."""
    ticks, cpu_s = let_tick(product, next_minute(15), count + 1, product.all_cpu_seconds)
    took = what_ticks_took(product, ticks)[1:]
    of_polls = median(cpu_s[1:]) - idle_cpu_s
    stored = _points(product, ticks[-1])
    assert stored == meters * REGISTERS, f"{stored} points stored at the last tick"
    first_s = median(product.simulator.first_request(tick) - tick.timestamp() for tick in ticks[1:])
    name = f"a scheduled run over {meters} meter{'s' * (meters > 1)}"
    return [
        at_most(f"{name}, tick to last point stored", median(tick.stored for tick in took), "s", most_s),
        info(
            f"{name}, tick to first step (schedule, queue, Python, Dagster)",
            median(tick.first_step for tick in took),
            "s",
        ),
        at_most(f"{name}, tick to first request", first_s, "s", most_first_s),
        at_most(f"{name}, CPU of all processes above idle", of_polls, "CPU-s", most_cpu_s),
        info(f"{name}, CPU of all processes over the minute", of_polls + idle_cpu_s, "CPU-s"),
    ]


def _points(product: Product, tick: datetime) -> int:
    since = int(tick.timestamp() * 1000)
    rows = product.influxdb.query(f"SELECT count(value) FROM /^value/ WHERE time >= {since}ms")  # noqa: S608 - constants only
    return sum(row["count"] for row in rows)
