"""1000 meters read every ten seconds by the whole product, compared with the least that a poller in Python needs."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from benchmarks.bare_poller import Task, cpu_per_meter_and_sample
from benchmarks.product import product
from benchmarks.results import Row, at_most, info
from benchmarks.simulator import Fleet
from benchmarks.telegraf import MEASUREMENT, telegraf_per_meter_and_sample
from benchmarks.ticks import idle_cpu_s, let_tick, next_minute
from emm_pipeline.defs.runs import ScheduledPoll
from emm_pipeline.polling.sharding import Shard
from emm_pipeline.polling.timing import Window

if TYPE_CHECKING:
    from benchmarks.product import Product

METERS, REGISTERS, TURNAROUND_S = 1000, 30, 0.02
SAMPLES = 6
"""Samples of a run."""
MOST_MS = 0.25
QUICK_METERS = 100
QUICK_MOST_MS = 2.5
"""With a tenth of the meters, the cost of the run itself is most of it."""
SETTLE_S, IDLE_S = 30, 60
"""Seconds until the discovery and the first poll have no more effect, and for which the idle load is measured then."""


def subminute(*, quick: bool) -> list[Row]:
    """CPU per meter and sample of EMM's processes and PostgreSQL, beyond idle, at the default settings.

    The store and the simulator do not count. The references are the bare poller and, where `telegraf` is on PATH,
    Telegraf, with the same simulator and store. `quick` is a single run over fewer meters, with a sample each second.
    """
    from support.influxdb import ServerMissingError

    try:
        return _one_run() if quick else _every_ten_seconds()
    except ServerMissingError as err:
        print(f"subminute: skipped, {err}")
        return []


def _every_ten_seconds() -> list[Row]:
    with product(
        Fleet(METERS, turnaround_s=TURNAROUND_S), REGISTERS, INFLUX_UPDATER_CRON_SECOND_TRIGGER="*/10"
    ) as everything:
        everything.add_meters(everything.meters)
        everything.run("poll")
        time.sleep(SETTLE_S)
        idle = idle_cpu_s(lambda: _cpu_s(everything), IDLE_S)
        ticks, cpu_s = let_tick(everything, next_minute(15), 4, lambda: _cpu_s(everything))
        _check(everything, ticks[-1], METERS)
        bare, telegraf = _others(everything, _task(everything, METERS, samples=12, interval_s=5.0))
    ours_ms = 1000 * (median(cpu_s[1:]) - idle) / METERS / SAMPLES
    name = f"{METERS} meters × {REGISTERS} registers every ten seconds"
    return [
        at_most(f"{name}, CPU per meter and sample beyond idle", ours_ms, "ms", MOST_MS, 1000 * bare),
        *_rows(f"{name}, the same by", bare, telegraf),
        info(f"{name}, idle, CPU of a minute", idle, "CPU-s"),
    ]


def _one_run() -> list[Row]:
    seconds = ",".join(map(str, range(SAMPLES)))
    with product(
        Fleet(QUICK_METERS, turnaround_s=TURNAROUND_S), REGISTERS, INFLUX_UPDATER_CRON_SECOND_TRIGGER=seconds
    ) as everything:
        everything.add_meters(everything.meters)
        everything.run("poll")
        idle = idle_cpu_s(lambda: _cpu_s(everything), 6) / 60
        before, began = _cpu_s(everything), time.monotonic()
        tick = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=3)
        poll = ScheduledPoll(Shard(), Window(tick, tick + timedelta(seconds=50)))
        everything.run("poll", **poll.tags())
        ours = _cpu_s(everything) - before - idle * (time.monotonic() - began)
        _check(everything, tick, QUICK_METERS)
        bare, telegraf = _others(everything, _task(everything, QUICK_METERS, samples=6, interval_s=1.0))
    name = f"one run of {SAMPLES} samples over {QUICK_METERS} meters"
    row = at_most(
        *(f"{name}, CPU per meter and sample beyond idle", 1000 * ours / QUICK_METERS / SAMPLES, "ms"),
        *(QUICK_MOST_MS, 1000 * bare),
    )
    return [row, *_rows(f"{name}, the same by", bare, telegraf)]


def _others(product: Product, task: Task) -> tuple[float, float | None]:
    """Return the CPU seconds per meter and sample of the bare poller, and of Telegraf if it is on PATH."""
    bare = cpu_per_meter_and_sample(task)
    telegraf = telegraf_per_meter_and_sample(task)
    if telegraf is not None:
        _check_telegraf(product, task)
    return bare, telegraf


def _rows(name: str, bare: float, telegraf: float | None) -> list[Row]:
    rows = [info(f"{name} a bare poller", 1000 * bare, "ms")]
    return rows if telegraf is None else [*rows, info(f"{name} Telegraf", 1000 * telegraf, "ms")]


def _cpu_s(product: Product) -> float:
    return sum(seconds for name, seconds in product.cpu_seconds().items() if name != "influxdb")


def _check(product: Product, tick: datetime, meters: int) -> None:
    """Fail unless every point since a tick is stored."""
    since = int(tick.timestamp() * 1000)
    rows = product.influxdb.query(f"SELECT count(value) FROM /^value/ WHERE time >= {since}ms")  # noqa: S608 - constants only
    stored = sum(row["count"] for row in rows)
    assert stored == meters * REGISTERS * SAMPLES, f"{stored} points stored since {tick}"


def _check_telegraf(product: Product, task: Task) -> None:
    """Fail unless Telegraf has stored the samples that were measured."""
    (row,) = product.influxdb.query(f'SELECT count(value0) FROM "{MEASUREMENT}"')  # noqa: S608 - constants only
    assert row["count"] >= task.samples * task.meters, f"{row['count']} lines stored by Telegraf"


def _task(product: Product, meters: int, *, samples: int, interval_s: float) -> Task:
    influxdb = product.influxdb
    query = urlencode({"org": influxdb.org, "bucket": influxdb.bucket, "precision": "ms"})
    return Task(
        product.simulator.port,
        meters,
        REGISTERS,
        samples,
        interval_s,
        url=f"{influxdb.url}/api/v2/write?{query}",
        token=influxdb.token,
    )
