"""Thousands of meters polled each minute by the whole product; every stored point is checked."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.event_log import EventLog, row_kept
from benchmarks.product import product
from benchmarks.results import Row, at_most, info
from benchmarks.simulator import Fleet, is_value_of
from benchmarks.ticks import idle_cpu_s, let_tick, next_minute, sleep_until, what_ticks_took

if TYPE_CHECKING:
    from benchmarks.product import Product

_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Load:
    """A fleet that is polled each minute for `minutes`, at the default settings unless `settings` has others.

    The targets are for the seconds from a tick to its last point, the CPU-seconds of a minute beyond idle, and the
    size of the event log that is kept (GB); None is no target.
    """

    meters: int
    registers: int
    minutes: int
    most_s: float | None = None
    most_cpu_s: float | None = None
    most_event_log_gb: float | None = None
    settles_s: float = 30.0
    """Seconds until the discovery has no more effect on the idle load."""
    idle_s: float = 60.0
    waits_s: float = 60.0
    """Seconds after the last minute after which a point that is not stored is missing."""


def sustained(*, quick: bool) -> list[Row]:
    """10 000 meters for ten minutes. The simulator runs on the same two cores."""
    from support.influxdb import ServerMissingError

    if quick:
        print("sustained: skipped, because `large fleet` measures the same with --quick")
        return []
    load = Load(10_000, 10, 10, most_s=3.0, most_cpu_s=4.0, most_event_log_gb=3.0)
    try:
        with product(Fleet(load.meters), load.registers) as everything:
            everything.add_meters(everything.meters)
            return poll_each_minute(everything, load)
    except ServerMissingError as err:
        print(f"sustained: skipped, {err}")
        return []


def poll_each_minute(product: Product, load: Load) -> list[Row]:
    """Let the schedule poll the meters that were added, and check every point.

    Every point of every tick is read back and compared with the values of its meter within the next 3 s. The first
    tick, which records the status of every meter, is included.
    """
    name = f"sustained: {load.meters} meters × {load.registers} registers, {load.minutes} minutes"
    time.sleep(load.settles_s)
    idle = idle_cpu_s(lambda: _cpu_s(product), load.idle_s)
    log = EventLog(product)
    ticks, cpu_s = let_tick(product, next_minute(20), load.minutes, lambda: _cpu_s(product))
    growth = log.growth()
    sleep_until(ticks[-1] + _MINUTE + timedelta(seconds=load.waits_s))
    took = what_ticks_took(product, ticks)
    missing, doubled, wrong = _check(product, ticks, load)
    late = sum(tick.ended >= _MINUTE.total_seconds() for tick in took)
    points = load.meters * load.registers * load.minutes
    cpu_name = f"{name}, CPU per minute of EMM and PostgreSQL beyond idle, median"
    return [
        at_most(f"{name}, minutes not complete when the next began", late, "minutes", 0),
        at_most(f"{name}, missing points of {points}", missing, "points", 0),
        at_most(f"{name}, duplicate points", doubled, "points", 0),
        at_most(f"{name}, wrong values", wrong, "points", 0),
        at_most(f"{name}, tick to last point stored, median", median(tick.stored for tick in took), "s", load.most_s),
        info(f"{name}, tick to last point stored, maximum", max(tick.stored for tick in took), "s"),
        at_most(cpu_name, median(cpu_s) - idle, "CPU-s", load.most_cpu_s),
        info(f"{name}, memory of EMM and PostgreSQL after it", _memory_mb(product), "MB"),
        row_kept(load.meters, growth, load.most_event_log_gb),
    ]


def _cpu_s(product: Product) -> float:
    """Return the CPU seconds so far of all processes but the store's."""
    return sum(seconds for name, seconds in product.cpu_seconds().items() if name != "influxdb")


def _memory_mb(product: Product) -> float:
    return sum(mb for name, mb in product.memory_mb().items() if name != "influxdb")


def _check(product: Product, ticks: list[datetime], load: Load) -> tuple[int, int, int]:
    """Return the numbers of missing, duplicate and wrong points."""
    missing = doubled = wrong = 0
    for address in range(0, 2 * load.registers, 2):
        for tick in ticks:
            begin = int(tick.timestamp() * 1000)
            minute = f"time >= {begin}ms AND time < {begin + 60_000}ms"
            query = f'SELECT value FROM "value{address}" WHERE {minute} GROUP BY id'  # noqa: S608 - constants only
            seen: Counter[int] = Counter()
            for row in product.influxdb.query(query):
                meter = int(row["id"])
                seen[meter] += 1
                is_right = is_value_of(meter, address, row["time"] / 1000, row["value"])
                if not is_right and not wrong:
                    print(f"  the first wrong value: {row}", flush=True)
                wrong += not is_right
            missing += sum(not seen[meter.id] for meter in product.meters[: load.meters])
            doubled += sum(times > 1 for times in seen.values())
    return missing, doubled, wrong
