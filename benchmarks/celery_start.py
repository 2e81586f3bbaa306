"""Start times of scheduled polls of one meter, with Dagster's run launcher and with a warm Celery worker."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import psutil

from benchmarks.product import cpu_of_tree, product
from benchmarks.results import Row, info
from benchmarks.simulator import Fleet
from benchmarks.ticks import idle_cpu_s, let_tick, next_minute, what_ticks_took

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.product import Product

REGISTERS = 20
MINUTES = 3
SETTLES_S = 30.0
"""Seconds until the discovery has no more effect on the idle load."""
IDLE_S = 60.0


def celery_start(*, quick: bool) -> list[Row]:
    """Time from tick to first step, and CPU of all processes, Redis and the worker included, per minute above idle."""
    from support.influxdb import ServerMissingError

    if quick:
        print("celery: skipped, it takes 12 minutes")
        return []
    try:
        return [*_by_dagster(), *_by_celery()]
    except ServerMissingError as err:
        print(f"celery: skipped, {err}")
        return []


def _by_dagster() -> list[Row]:
    with product(Fleet(1), REGISTERS) as everything:
        everything.add_meters(everything.meters)
        return _ticks("by Dagster's launcher", everything, lambda: 0.0)


def _by_celery() -> list[Row]:
    from support.celery_workers import Redis, Worker

    from emm_pipeline.cli.demo.processes import ProcessGroup

    with tempfile.TemporaryDirectory(prefix="emm-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with ProcessGroup(folder / "logs") as processes:
            redis = Redis(processes)
            with product(Fleet(1), REGISTERS, **redis.environment) as everything:
                worker = Worker("worker", processes, folder, everything.stack.environment)
                worker.start()
                everything.add_meters(everything.meters)
                roots = [psutil.Process(pid) for pid in (worker.pid, processes.pid("redis"))]
                rows = _ticks("by a Celery worker", everything, lambda: sum(map(cpu_of_tree, roots)))
                rows += _memory(worker)
                worker.stop()
                return rows


def _memory(worker: object) -> list[Row]:
    main = psutil.Process(worker.pid)  # type: ignore[attr-defined]
    runs = [process.memory_full_info().uss / 2**20 for process in worker.processes()]  # type: ignore[attr-defined]
    return [
        info("by a Celery worker: memory of the worker itself", main.memory_info().rss / 2**20, "MiB"),
        info("by a Celery worker: private memory of a process that has executed polls", max(runs), "MiB"),
    ]


def _ticks(name: str, product: Product, more_cpu_s: Callable[[], float]) -> list[Row]:
    """Measure the idle load, then ticks of the schedule; return medians without the first tick, which warms up."""

    def cpu_s() -> float:
        return product.all_cpu_seconds() + more_cpu_s()

    time.sleep(SETTLES_S)
    idle_s = idle_cpu_s(cpu_s, IDLE_S)
    ticks, cpu_of_minutes = let_tick(product, next_minute(20), MINUTES + 1, cpu_s)
    took = what_ticks_took(product, ticks)[1:]
    of_polls = median(cpu_of_minutes[1:]) - idle_s
    run = f"a scheduled run over 1 meter {name}"
    return [
        info(f"{run}, tick to first step", median(tick.first_step for tick in took), "s"),
        info(f"{run}, tick to its end", median(tick.ended for tick in took), "s"),
        info(f"{run}, CPU of all processes above idle", of_polls, "CPU-s"),
        info(f"{name}: idle, CPU of all processes", 100 * idle_s / 60, "%"),
    ]
