"""The questions of Grafana's dashboard Energy in SQL, with a year of a large fleet in PostgreSQL.

EMM has no dashboard for PostgreSQL: the questions are asked one after the other.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING

from sqlalchemy import text

from benchmarks.database import configuration_database
from benchmarks.panel_times import COUNTER, MONTH, MOST_S, NOW, OPENINGS, span
from benchmarks.results import Row, at_most, info

if TYPE_CHECKING:
    from sqlalchemy import Connection

_FILL = text("""
    INSERT INTO emm_energy
    SELECT time, meter, 'meter ' || meter, :counter, 'kWh', :period, random() * 10, 100, random(), 0, 60, NULL
    FROM generate_series(1, :meters) AS meter, generate_series(:begin, :end, CAST(:every AS interval)) AS time
""")
_WHERE = "FROM emm_energy WHERE period = '{period}' AND measurement = :counter AND time >= :since AND time < :until"
_BARS = f"SELECT time, measurement, dataunit, sum({{column}}) {_WHERE} GROUP BY 1, 2, 3 ORDER BY 1"
_QUESTIONS = {
    "Today": f"SELECT sum(energy) {_WHERE.format(period='hour')}",
    "This month, until yesterday": f"SELECT sum(energy) {_WHERE.format(period='day')}",
    "The month before": f"SELECT sum(energy) {_WHERE.format(period='day')}",
    "Cost this month, until yesterday": f"SELECT sum(cost) {_WHERE.format(period='day')}",
    "Lowest coverage": f"SELECT min(coverage) {_WHERE.format(period='day')}",
    "Day by day": _BARS.format(column="energy", period="day"),
    "Day by day, a month earlier": _BARS.format(column="energy", period="day"),
    "Hour by hour": _BARS.format(column="energy", period="hour"),
    "Month by month": _BARS.format(column="energy", period="month"),
    "Cost, day by day": _BARS.format(column="cost", period="day"),
    "By meter, whole months": "SELECT id, dataunit, sum(energy), min(coverage), max(description) "
    f"{_WHERE.format(period='month')} GROUP BY 1, 2",
    "By meter": "SELECT id, dataunit, sum(energy), min(coverage), max(description) "
    f"{_WHERE.format(period='day')} GROUP BY 1, 2",
    "Days to look at": f"SELECT time, id, description, energy, coverage, flags {_WHERE.format(period='day')} "
    "AND (flags ~ 'reset|replaced|glitch|rollover|estimated' OR coverage < 90) ORDER BY time DESC LIMIT 50",
}


def postgresql(meters: int, days: int) -> list[Row]:
    """Store a year of energies, and ask the questions; return the rows."""
    with configuration_database() as engine:
        with engine.begin() as connection:
            _fill(connection, meters, NOW.replace(hour=0) - timedelta(days=days))
        with engine.connect() as connection:
            connection.exec_driver_sql("ANALYZE emm_energy")
            opening = [_questions(connection) for _ in range(OPENINGS)]
    taken = {title: median(each[title] for each in opening) for title in opening[0]}
    slowest = max(taken, key=taken.__getitem__)
    name = f"energy: the same questions in SQL, {meters} meters, {days} days in PostgreSQL"
    return [
        at_most(f"{name}, 30 days", sum(taken.values()), "s", MOST_S),
        info(f"{name}: the slowest ({slowest})", taken[slowest], "s"),
    ]


def _fill(connection: Connection, meters: int, begin: datetime) -> None:
    for period, hours in (("hour", 1), ("day", 24), ("month", 24 * 30)):
        every = timedelta(hours=hours)
        values = {"counter": COUNTER, "period": period, "every": every, "begin": begin, "end": NOW - every}
        connection.execute(_FILL, {**values, "meters": meters})


def _questions(connection: Connection) -> dict[str, float]:
    from support.grafana import dashboards, shown_panels

    panels = {panel["title"]: panel for panel in shown_panels(dashboards()["energy"])}
    assert panels.keys() == _QUESTIONS.keys()
    taken = {}
    for title, statement in _QUESTIONS.items():
        since, until = span(panels[title], MONTH)
        began = time.perf_counter()
        assert connection.execute(text(statement), {"counter": COUNTER, "since": since, "until": until}).all() or (
            title == "Days to look at"
        )
        taken[title] = time.perf_counter() - began
    return taken
