"""The queries of one opening of Grafana's dashboard Energy, with a year of a large fleet in the store.

Grafana itself is not measured. The browser sends it six queries at a time, as here. `benchmarks.energy_questions` asks
the same of PostgreSQL.
"""

from __future__ import annotations

import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import numpy as np
import psutil
import urllib3

from benchmarks.energy_questions import postgresql
from benchmarks.panel_times import COUNTER, MONTH, MOST_S, NOW, OPENINGS, YEAR, span
from benchmarks.results import Row, at_most, info
from emm_pipeline.energy.periods import milliseconds
from emm_pipeline.stores.energy_points import EnergyPoints
from emm_pipeline.stores.influxdb.client import InfluxClient
from emm_pipeline.stores.influxdb.energy_totals import EnergyTotals
from emm_pipeline.stores.influxdb.line_protocol import energy_lines
from emm_pipeline.stores.points import TextColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VARIANTS = 10
"""Number of days with different energies, which are repeated."""
LINES_AT_ONCE = 20_000
AT_A_TIME = 6
"""Number of connections of a browser to a server."""
IDLE_PERCENT = 5


def energy_dashboard(*, quick: bool) -> list[Row]:
    """Store a year of hours, days and months of 1000 meters, and open the dashboard."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    meters, days = (100, 60) if quick else (1000, 365)
    return [*_influxdb(meters, days), *postgresql(meters, days)]


def _influxdb(meters: int, days: int) -> list[Row]:
    from support.influxdb import INFLUXD_1_8, InfluxDB, ServerMissingError

    with tempfile.TemporaryDirectory(prefix="emm-bench-") as folder:
        try:
            server = InfluxDB(Path(folder), INFLUXD_1_8 if INFLUXD_1_8.exists() else None)
        except ServerMissingError as err:
            print(f"energy dashboard: skipped, {err}")
            return []
        with closing(server):
            for lines in _lines(meters, days):
                server.write(lines)
            _wait_until_idle(server)
            added = _add_totals(server)
            _wait_until_idle(server)
            ask = _Asking(server)
            name = f"energy: the dashboard, {meters} meters, {days} days in InfluxDB"
            month, year = (median(_elapsed(ask, _queries(shown)) for _ in range(OPENINGS)) for shown in (MONTH, YEAR))
            taken = {title: ask(query) for title, query in _queries(YEAR).items()}
    slowest = max(taken, key=taken.__getitem__)
    return [
        at_most(f"{name}: an opening, 30 days", month, "s", MOST_S),
        at_most(f"{name}: an opening, a year", year, "s", MOST_S),
        info(f"{name}: sum of the queries of a year, one after the other", sum(taken.values()), "s"),
        info(f"{name}: the slowest query of a year ({slowest})", taken[slowest], "s"),
        info(f"{name}: adding the totals of all meters, the first run after an upgrade", added, "s"),
    ]


def _add_totals(server: Any) -> float:
    """Add the totals as the first run after an upgrade does; return the time (s). Hours have a limited time."""
    client = InfluxClient(server.url, server.token, server.token, server.org, server.bucket)
    began = time.perf_counter()
    with closing(client):
        EnergyTotals(client).update("hour", milliseconds(NOW - timedelta(hours=1)), milliseconds(NOW))
    return time.perf_counter() - began


def _lines(meters: int, days: int) -> Iterator[str]:
    """Yield line protocol: months, days, and the hours of each day until now."""
    midnight = NOW.replace(hour=0)
    begins = [midnight - timedelta(days=number) for number in range(days + 1)]
    months = [day for day in begins if day.day == 1]
    yield from _batches(_starts(meters, "month", 1), [[each] for each in months])
    yield from _batches(_starts(meters, "day", 1), [[each] for each in begins[1:]])
    hours = [[each + timedelta(hours=hour) for hour in range(24)] for each in begins[1:]]
    today = [[midnight + timedelta(hours=hour) for hour in range(NOW.hour)]]
    yield from _batches(_starts(meters, "hour", 24), today + hours)


def _starts(meters: int, period: str, parts: int) -> list[list[str]]:
    """Return the lines of a day as the product writes them, without time: for each variant, by part and meter."""
    count = parts * meters
    chance = np.random.default_rng(0)
    found = []
    for _ in range(VARIANTS):
        ids = np.tile(np.arange(1, meters + 1), parts)
        points = EnergyPoints(
            time=np.zeros(count, np.int64),
            id=ids,
            description=TextColumn.of(f"meter {id_}" for id_ in ids.tolist()),
            measurement=TextColumn.of(COUNTER for _ in range(count)),
            dataunit=TextColumn.of("kWh" for _ in range(count)),
            period=TextColumn.of(period for _ in range(count)),
            energy=chance.integers(0, 10_000, count) / 1024,
            coverage=np.full(count, 100.0),
            cost=chance.integers(0, 10_000, count) / 4096,
            estimated=np.zeros(count),
            readings=np.full(count, 60),
            flags=TextColumn.of("" for _ in range(count)),
        )
        found.append([line.removesuffix("0\n") for line in energy_lines(points)])
    return found


def _batches(starts: list[list[str]], times: list[list[datetime]]) -> Iterator[str]:
    """Yield the lines of the variants at times, each of which are the parts of one variant."""
    lines: list[str] = []
    for number, parts in enumerate(times):
        of_day = starts[number % VARIANTS]
        per_part = len(starts[0]) // len(times[-1])
        for part, moment in enumerate(parts):
            end = f"{milliseconds(moment)}\n"
            lines += [start + end for start in of_day[part * per_part : (part + 1) * per_part]]
        if len(lines) >= LINES_AT_ONCE:
            yield "".join(lines)
            lines = []
    yield "".join(lines)


def _wait_until_idle(server: Any) -> None:
    """Wait until InfluxDB has compacted what was written within a minute here, and in a real one within a year."""
    influxd = psutil.Process(server.pids()[0])
    while influxd.cpu_percent(interval=5) > IDLE_PERCENT:
        pass


class _Asking:
    """Sends a query as Grafana does, and reads the reply."""

    def __init__(self, server: Any) -> None:
        self._http = urllib3.PoolManager(maxsize=AT_A_TIME)
        self._url, self._token = f"{server.url}/query", server.token
        self._database = server.bucket.partition("/")[0]

    def __call__(self, query: str) -> float:
        """Return the time (s) that a query takes."""
        fields = {"q": query, "db": self._database, "epoch": "ms"}
        began = time.perf_counter()
        reply = self._http.request(
            "POST",
            self._url,
            body=urlencode(fields),
            headers={"Authorization": f"Token {self._token}", "Content-Type": "application/x-www-form-urlencoded"},
        )
        taken = time.perf_counter() - began
        assert reply.status == HTTPStatus.OK, reply.data
        assert b'"error"' not in reply.data, reply.data
        return taken


def _elapsed(ask: Callable[[str], float], queries: dict[str, str]) -> float:
    """Return the time (s) that an opening of the dashboard takes."""
    began = time.perf_counter()
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        list(pool.map(ask, queries.values()))
    return time.perf_counter() - began


def _queries(shown: timedelta) -> dict[str, str]:
    """Return the queries of an opening of the dashboard, those of its variables and of its panels."""
    from support.grafana import ALL, dashboards, interpolate, shown_panels

    dashboard = dashboards()["energy"]
    found = {each["name"]: each["query"] for each in dashboard["templating"]["list"]}
    for panel in shown_panels(dashboard):
        (target,) = panel["targets"]
        found[panel["title"]] = interpolate(target["query"], *span(panel, shown), meter=ALL, measurement=COUNTER)
    return found
