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


def scheduled(*, quick: bool) -> list[Row]:
    """1 meter, then 1000, polled by the schedule each minute; CPU is that of all processes over a minute.

    All processes are daemon, webserver, code server with its runs, PostgreSQL with its backends, InfluxDB and nginx,
    but not the simulator. "Idle" is a minute with the schedules switched off. "Between polls" is the rest of a minute
    after the runs of its tick have ended, with discovery and poll switched on. `quick` measures one tick, the first.
    """
    from support.influxdb import ServerMissingError

    try:
        if quick:
            return _quick()
        meters, ticks = 1000, 3
        with product(Fleet(meters), REGISTERS) as everything:
            everything.add_meters(everything.meters[:1])
            everything.run("poll")
            idle, rows = _idle(everything, 60, "idle")
            rows += _ticks(everything, 1, ticks, idle, 3.0)
            everything.add_meters(everything.meters[1:])
            rows += _ticks(everything, meters, ticks, idle, 5.0, 6.0)
            rows += _between_polls(everything)
    except ServerMissingError as err:
        print(f"scheduled: skipped, {err}")
        return []
    return rows


def _quick() -> list[Row]:
    from support.dagster_ui import FINISHED, wait_for

    meters = 100
    with product(Fleet(meters), REGISTERS) as everything:
        everything.add_meters(everything.meters)
        tick, ui = next_minute(2), everything.stack.ui
        ui.toggle("poll_schedule", on=True)
        sleep_until(tick)
        wait_for("the poll", lambda: [run for run in ui.runs(pipelineName="poll") if run["status"] in FINISHED])
        ui.toggle("poll_schedule", on=False)
        stored = what_ticks_took(everything, [tick])[0].stored
        assert _points(everything, tick) == meters * REGISTERS
    return [at_most(f"a scheduled run over {meters} meters, the first, tick to last point stored", stored, "s", 5.0)]


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


def _idle(product: Product, seconds: int, what: str) -> tuple[float, list[Row]]:
    before, started = product.cpu_seconds(), datetime.now(UTC)
    sleep_until(started + timedelta(seconds=seconds))
    after = product.cpu_seconds()
    memory = product.memory_mib()
    rows = [info(f"{what}: CPU of {name}", 100 * (after[name] - before[name]) / seconds, "%") for name in after]
    rows += [info(f"{what}: memory of {name}", memory[name], "MiB") for name in memory]
    return 60 * (sum(after.values()) - sum(before.values())) / seconds, rows


def _ticks(
    product: Product, meters: int, count: int, idle_cpu_s: float, most_s: float, most_cpu_s: float | None = None
) -> list[Row]:
    """Measure ticks of the schedule, and return medians of `count` ticks after a first one that warms up."""
    ticks, cpu_s = let_tick(product, next_minute(15), count + 1, product.all_cpu_seconds)
    took = what_ticks_took(product, ticks)[1:]
    of_polls = median(cpu_s[1:]) - idle_cpu_s
    stored = _points(product, ticks[-1])
    assert stored == meters * REGISTERS, f"{stored} points stored at the last tick"
    name = f"a scheduled run over {meters} meter{'s' * (meters > 1)}"
    cpu_name = f"{name}, CPU of all processes above idle"
    return [
        at_most(f"{name}, tick to last point stored", median(tick.stored for tick in took), "s", most_s),
        info(
            f"{name}, tick to first step (schedule, queue, Python, Dagster)",
            median(tick.first_step for tick in took),
            "s",
        ),
        info(f"{name}, tick to start of reading", median(tick.reading for tick in took), "s"),
        at_most(cpu_name, of_polls, "CPU-s", most_cpu_s) if most_cpu_s else info(cpu_name, of_polls, "CPU-s"),
        info(f"{name}, CPU of all processes over the minute", of_polls + idle_cpu_s, "CPU-s"),
    ]


def _points(product: Product, tick: datetime) -> int:
    since = int(tick.timestamp() * 1000)
    rows = product.influxdb.query(f"SELECT count(value) FROM /^value/ WHERE time >= {since}ms")  # noqa: S608 - constants only
    return sum(row["count"] for row in rows)
