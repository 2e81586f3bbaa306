"""Dagster's pages in a real browser, with thousands of partitions and a day of runs in the database."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from benchmarks.history import MINUTES, add_history
from benchmarks.product import product
from benchmarks.results import Row, at_most, info
from benchmarks.simulator import Fleet
from benchmarks.ticks import next_minute, sleep_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from playwright.sync_api import BrowserContext, Page, Request

    from benchmarks.product import Product

METERS = 10_000
SETTLED_S = 900
LONGEST_S = 60


@dataclass(frozen=True, slots=True)
class Look:
    """How the pages are looked at, and the targets for their slowest queries, in seconds.

    `minutes` is the length of the history, in which all statuses are recorded every `stated_every` minutes. Each page
    stays open for `open_ms` while it sends its queries. After that the benchmark waits for pending replies.
    """

    most_s: float = 1.0
    most_after_change_s: float = 3.0
    minutes: int = MINUTES
    stated_every: int = SETTLED_S // 60
    open_ms: int = 8000


def pages(*, quick: bool) -> list[Row]:
    """The slowest query of each page, and of the asset's page right after a meter was added.

    `benchmarks.history` creates the day of runs by copying the rows of real polls in the database.
    """
    from support.influxdb import ServerMissingError

    if quick:
        print("pages: skipped, because `large fleet` measures the same with --quick")
        return []
    if not _chromium():
        print("pages: skipped, Chromium is not installed")
        return []
    settings = {"METERS_PER_RUN": "2500", "STATUS_INTERVAL_S": str(SETTLED_S)}
    try:
        with product(Fleet(METERS + 1), 1, **settings) as everything:
            everything.add_meters(everything.meters[:METERS])
            _two_ticks(everything)
            return look_at_pages(everything, METERS, Look())
    except ServerMissingError as err:
        print(f"pages: skipped, {err}")
        return []


def look_at_pages(product: Product, meters: int, look: Look) -> list[Row]:
    """Add a history to the database, then measure the pages; afterwards the product has one meter more.

    There must have been two ticks of the schedule: one that recorded the status of all meters, and one that recorded
    that of few or none.
    """
    chromium = _chromium()
    if not chromium:
        print("pages: skipped, Chromium is not installed")
        return []
    runs, events = add_history(product, look.minutes, look.stated_every)
    period = "a day" if look.minutes == MINUTES else f"{look.minutes} minutes"
    name = f"pages with {meters} partitions and {period} of runs"
    rows = [info(f"{name}: runs", runs, "rows"), info(f"{name}: events", events / 1e6, "million rows")]
    return rows + _look(product, chromium, name, meters, look)


def _chromium() -> str | None:
    return shutil.which("chromium-headless-shell") or shutil.which("chromium")


def _two_ticks(product: Product) -> None:
    """Let the schedule tick twice: the first tick records the status of all meters, the second that of none."""
    first = next_minute(10)
    sleep_until(first - timedelta(seconds=5))
    product.stack.ui.toggle("poll_schedule", on=True)
    sleep_until(first + timedelta(seconds=100))
    product.stack.ui.toggle("poll_schedule", on=False)
    sleep_until(first + timedelta(seconds=130))


def _look(product: Product, chromium: str, name: str, meters: int, look: Look) -> list[Row]:
    from playwright.sync_api import sync_playwright
    from support.browser import OPTIONS

    url = product.stack.ui.url
    (run,) = product.dagsters(
        """SELECT run_id FROM event_logs WHERE dagster_event_type = 'ASSET_MATERIALIZATION'
            GROUP BY run_id ORDER BY count(*) DESC LIMIT 1"""
    )[0]
    addresses = {
        "the asset": f"{url}/assets/meter_readings",
        "the asset's partitions": f"{url}/assets/meter_readings?view=partitions",
        "the asset's events": f"{url}/assets/meter_readings?view=events",
        "a poll's run": f"{url}/runs/{run}",
        "all runs": f"{url}/runs",
        "all assets": f"{url}/assets",
        "schedules": f"{url}/automation",
    }
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=OPTIONS)
        context = browser.new_context(viewport={"width": 1400, "height": 860})
        slowest = {what: _slowest(context, address, f"{name}: {what}", look) for what, address in addresses.items()}
        rows = [at_most(f"{name}: {what}, slowest query", s, "s", look.most_s) for what, s in slowest.items()]
        product.add_meters(product.meters[meters : meters + 1])
        after = f"{name}: the asset's partitions after a meter was added"
        seconds = _slowest(context, addresses["the asset's partitions"], after, look)
        rows.append(at_most(f"{after}, slowest query", seconds, "s", look.most_after_change_s))
        browser.close()
    memory = product.memory_mb()["webserver"]
    return [*rows, info(f"{name}: proportional memory of the webserver", memory, "MB")]


def _slowest(context: BrowserContext, address: str, name: str, look: Look) -> float:
    """Open a page and return the seconds of its slowest query. Fails if a query gets no response.

    Each address has a page of its own: one that goes to another address cancels its queries.
    """
    page = context.new_page()
    times: dict[str, float] = {}
    waiting: list[Request] = []

    def begin(request: Request) -> None:
        if "/graphql" in request.url and request.method == "POST":
            waiting.append(request)

    def note(request: Request) -> None:
        if request in waiting:
            waiting.remove(request)
            operation = _operation(request.post_data)
            timing: Mapping[str, float] = request.timing
            seconds = (timing["responseEnd"] - timing["requestStart"]) / 1000
            times[operation] = max(seconds, times.get(operation, 0.0))

    page.on("request", begin)
    page.on("requestfinished", note)
    page.goto(address)
    _wait(page, lambda: bool(waiting or times))
    page.wait_for_timeout(look.open_ms)
    page.remove_listener("request", begin)
    _wait(page, lambda: not waiting)
    page.close()
    assert not waiting, f"{address}: no response to {[_operation(request.post_data) for request in waiting]}"
    for operation, seconds in sorted(times.items(), key=lambda item: -item[1])[:4]:
        print(f"  {name}: {operation} {seconds:.3f} s", flush=True)
    return max(times.values())


def _wait(page: Page, is_over: Callable[[], bool]) -> None:
    """Wait until something is over, or for LONGEST_S."""
    for _ in range(10 * LONGEST_S):
        if is_over():
            return
        page.wait_for_timeout(100)


def _operation(body: str | None) -> str:
    name: str = json.loads(body or "{}").get("operationName") or "?"
    return name
