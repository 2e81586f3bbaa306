"""Waits for ticks of the poll schedule, and measures how long their runs took."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from emm_pipeline.defs.runs import TICK_TAG

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.product import Product

_MINUTE = timedelta(minutes=1)
BEFORE = timedelta(seconds=5)
"""The minute over which CPU time is measured starts this long before its tick."""


class Tick(NamedTuple):
    """A tick of the poll schedule. Times are in seconds after it, for the last run if the tick has several."""

    at: datetime
    first_step: float
    stored: float
    """When the store acknowledged the last point."""
    ended: float


def idle_cpu_s(cpu_s: Callable[[], float], seconds: float, windows: int = 6) -> float:
    """Return the increase of `cpu_s` in a minute in which nothing is polled: the median of windows within `seconds`.

    The median leaves out the computation of energies, which happens once an hour and takes some seconds.
    """
    used = []
    for _ in range(windows):
        before, began = cpu_s(), time.monotonic()
        time.sleep(seconds / windows)
        used.append((cpu_s() - before) * 60 / (time.monotonic() - began))
    return median(used)


def next_minute(least_s: float = 5.0) -> datetime:
    """Return the next full minute that is at least `least_s` seconds away."""
    now = datetime.now(UTC) + timedelta(seconds=least_s)
    return now.replace(second=0, microsecond=0) + _MINUTE


def sleep_until(then: datetime) -> None:
    """Sleep until `then`."""
    time.sleep(max(0.0, (then - datetime.now(UTC)).total_seconds()))


def let_tick(
    product: Product, first: datetime, count: int, cpu_s: Callable[[], float]
) -> tuple[list[datetime], list[float]]:
    """Switch the poll schedule on for `count` ticks starting with `first`, then off.

    Returns:
        The ticks, and the increase of `cpu_s` in the minute of each tick, which starts BEFORE the tick.
    """
    ticks = [first + number * _MINUTE for number in range(count)]
    sleep_until(first - 2 * BEFORE)
    product.stack.ui.toggle("poll_schedule", on=True)
    cpu = []
    for at in ticks:
        sleep_until(at - BEFORE)
        cpu.append(cpu_s())
    sleep_until(ticks[-1] + _MINUTE - 2 * BEFORE)
    product.stack.ui.toggle("poll_schedule", on=False)
    sleep_until(ticks[-1] + _MINUTE - BEFORE)
    cpu.append(cpu_s())
    return ticks, [later - earlier for earlier, later in pairwise(cpu)]


def what_ticks_took(product: Product, ticks: list[datetime]) -> list[Tick]:
    """Return the times of these ticks' polls from Dagster's event log. All of them must have succeeded."""
    return [_tick(product, at) for at in ticks]


def _tick(product: Product, at: datetime) -> Tick:
    rows = product.dagsters(
        f"""SELECT e.run_id, e.dagster_event_type, e.step_key, extract(epoch FROM e.timestamp) AS seconds
             FROM event_logs e JOIN run_tags t ON t.run_id = e.run_id AND t.key = '{TICK_TAG}' AND t.value = :tick
            WHERE e.dagster_event_type IN ('STEP_START', 'STEP_SUCCESS', 'PIPELINE_SUCCESS')""",  # noqa: S608 - constants only
        tick=at.isoformat(),
    )
    after = [(kind, step or "", float(seconds) - at.timestamp()) for _, kind, step, seconds in rows]
    assert any(kind == "PIPELINE_SUCCESS" for kind, _, _ in after), f"the poll of {at} did not succeed"

    def last(kind: str, step: str) -> float:
        return max(seconds for a_kind, a_step, seconds in after if a_kind == kind and step in a_step)

    starts = [seconds for kind, _, seconds in after if kind == "STEP_START"]
    return Tick(
        at,
        min(starts),
        last("STEP_SUCCESS", ".load["),
        last("PIPELINE_SUCCESS", ""),
    )
