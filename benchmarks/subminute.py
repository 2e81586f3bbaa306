"""1000 meters read every ten seconds by the whole product, compared with the least that a poller in Python needs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from benchmarks.bare_poller import Task, cpu_per_meter_and_sample
from benchmarks.product import product
from benchmarks.results import Row, at_most, info
from benchmarks.simulator import Fleet
from benchmarks.ticks import let_tick, next_minute, sleep_until

if TYPE_CHECKING:
    from benchmarks.product import Product

METERS, REGISTERS, TURNAROUND_S = 1000, 30, 0.02
SAMPLES = 6
"""Samples in a minute."""
MOST_MS = 0.25


def subminute(*, quick: bool) -> list[Row]:
    """CPU per meter and sample of EMM's processes and PostgreSQL, beyond an idle minute, at the default settings.

    The store and the simulator do not count. The reference is the bare poller, with the same simulator and store.
    """
    from support.influxdb import ServerMissingError

    if quick:
        print("subminute: skipped, it takes 7 minutes")
        return []
    try:
        with product(
            Fleet(METERS, turnaround_s=TURNAROUND_S), REGISTERS, INFLUX_UPDATER_CRON_SECOND_TRIGGER="*/10"
        ) as everything:
            everything.add_meters(everything.meters)
            everything.run("poll")
            idle = _cpu_s(everything)
            sleep_until(datetime.now(UTC) + timedelta(minutes=1))
            idle = _cpu_s(everything) - idle
            ticks, cpu_s = let_tick(everything, next_minute(15), 4, lambda: _cpu_s(everything))
            _check(everything, ticks[-1])
            bare = cpu_per_meter_and_sample(_task(everything))
    except ServerMissingError as err:
        print(f"subminute: skipped, {err}")
        return []
    ours_ms = 1000 * (median(cpu_s[1:]) - idle) / METERS / SAMPLES
    name = f"{METERS} meters × {REGISTERS} registers every ten seconds"
    return [
        at_most(f"{name}, CPU per meter and sample beyond idle", ours_ms, "ms", MOST_MS, 1000 * bare),
        info(f"{name}, the same by a bare poller", 1000 * bare, "ms"),
        info(f"{name}, idle, CPU of a minute", idle, "CPU-s"),
    ]


def _cpu_s(product: Product) -> float:
    return sum(seconds for name, seconds in product.cpu_seconds().items() if name != "influxdb")


def _check(product: Product, tick: datetime) -> None:
    """Fail unless every point of the last minute is stored."""
    since = int(tick.timestamp() * 1000)
    rows = product.influxdb.query(f"SELECT count(value) FROM /^value/ WHERE time >= {since}ms")  # noqa: S608 - constants only
    stored = sum(row["count"] for row in rows)
    assert stored == METERS * REGISTERS * SAMPLES, f"{stored} points stored in the last minute"


def _task(product: Product) -> Task:
    influxdb = product.influxdb
    query = urlencode({"org": influxdb.org, "bucket": influxdb.bucket, "precision": "ms"})
    return Task(
        product.simulator.port,
        METERS,
        REGISTERS,
        samples=12,
        interval_s=5.0,
        url=f"{influxdb.url}/api/v2/write?{query}",
        token=influxdb.token,
    )
