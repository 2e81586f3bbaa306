"""10 000 meters polled each minute for ten minutes by the whole product; every stored point is checked."""

from __future__ import annotations

from datetime import datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.product import product
from benchmarks.results import Row, at_most, info
from benchmarks.simulator import Fleet, is_value_of
from benchmarks.ticks import let_tick, next_minute, sleep_until, what_ticks_took

if TYPE_CHECKING:
    from benchmarks.product import Product

METERS_PER_RUN = 2500
SETTLED_S = 900
_MINUTE = timedelta(minutes=1)


def sustained(*, quick: bool) -> list[Row]:
    """Poll in shards of METERS_PER_RUN, with STATUS_INTERVAL_S=900. The simulator runs on the same two cores.

    Every point of every tick is read back and compared with the value of its meter in that second.
    """
    from support.influxdb import ServerMissingError

    if quick:
        print("sustained: skipped, it takes 15 minutes")
        return []
    meters, registers, count = 10_000, 10, 10
    settings = {"METERS_PER_RUN": str(METERS_PER_RUN), "STATUS_INTERVAL_S": str(SETTLED_S)}
    try:
        with product(Fleet(meters), registers, **settings) as everything:
            everything.add_meters(everything.meters)
            ticks, cpu_s = _tick(everything, count)
            took = what_ticks_took(everything, ticks)
            missing, doubled, wrong = _check(everything, ticks, registers)
    except ServerMissingError as err:
        print(f"sustained: skipped, {err}")
        return []
    name = f"sustained: {meters} meters × {registers} registers, {count} minutes"
    late = sum(tick.ended >= _MINUTE.total_seconds() for tick in took)
    return [
        at_most(f"{name}, minutes not complete when the next began", late, "minutes", 0),
        at_most(f"{name}, missing points of {meters * registers * count}", missing, "points", 0),
        at_most(f"{name}, duplicate points", doubled, "points", 0),
        at_most(f"{name}, wrong values", wrong, "points", 0),
        info(f"{name}, tick to last point stored, median", median(tick.stored for tick in took), "s"),
        info(f"{name}, tick to last point stored, maximum", max(tick.stored for tick in took), "s"),
        info(f"{name}, CPU of all processes per minute", cpu_s, "CPU-s"),
    ]


def _tick(product: Product, count: int) -> tuple[list[datetime], float]:
    """Let the schedule tick `count` times. The first tick, which records the status of every meter, is included."""
    ticks, cpu_s = let_tick(product, next_minute(20), count, product.all_cpu_seconds)
    sleep_until(ticks[-1] + 2 * _MINUTE)  # points that are stored later count as missing
    return ticks, median(cpu_s)


def _check(product: Product, ticks: list[datetime], registers: int) -> tuple[int, int, int]:
    """Return the numbers of missing, duplicate and wrong points."""
    since = int(ticks[0].timestamp() * 1000)
    expected = {meter.id for meter in product.meters}
    missing = doubled = wrong = 0
    for address in range(0, 2 * registers, 2):
        query = f'SELECT value FROM "value{address}" WHERE time >= {since}ms GROUP BY id'  # noqa: S608 - constants only
        seen = [dict.fromkeys(expected, 0) for _ in ticks]
        for row in product.influxdb.query(query):
            meter = int(row["id"])
            tick = (row["time"] - since) // 60_000
            if tick < len(ticks):
                seen[tick][meter] += 1
                wrong += not is_value_of(meter, address, row["time"] / 1000, row["value"])
        missing += sum(times == 0 for tick in seen for times in tick.values())
        doubled += sum(times > 1 for tick in seen for times in tick.values())
    return missing, doubled, wrong
