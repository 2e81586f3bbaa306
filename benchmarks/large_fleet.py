"""50 000 meters on one machine: polled each minute for ten minutes, then Dagster's pages with as many partitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.pages import Look, look_at_pages
from benchmarks.product import product
from benchmarks.simulator import Fleet
from benchmarks.sustained import Load, poll_each_minute

if TYPE_CHECKING:
    from benchmarks.results import Row

LOAD = Load(50_000, 10, 10)
LOOK = Look(most_s=2.0, most_after_change_s=2.0, stated_every=60)
QUICK_LOAD = Load(
    300, 3, 2, most_s=10.0, most_cpu_s=10.0, most_event_log_gb=3.0, settles_s=0.0, idle_s=10.0, waits_s=0.0
)
QUICK_LOOK = Look(most_s=5.0, most_after_change_s=5.0, minutes=30, stated_every=3, open_ms=3000)
QUICK_METERS_PER_RUN = 100


def large_fleet(*, quick: bool) -> list[Row]:
    """Poll at the default settings, with InfluxDB and the simulator on the same cores; then add a day of runs.

    `quick` polls 300 meters for two minutes in runs of 100, and adds half an hour.
    """
    from support.influxdb import ServerMissingError

    load, look = (QUICK_LOAD, QUICK_LOOK) if quick else (LOAD, LOOK)
    settings = {"METERS_PER_RUN": str(QUICK_METERS_PER_RUN)} if quick else {}
    try:
        with product(Fleet(load.meters + 1), load.registers, **settings) as everything:
            everything.add_meters(everything.meters[: load.meters])
            rows = poll_each_minute(everything, load)
            return rows + look_at_pages(everything, load.meters, look)
    except ServerMissingError as err:
        print(f"large fleet: skipped, {err}")
        return []
