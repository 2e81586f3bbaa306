"""The dashboard Energy: what flowed today, this month and each day, by meter, with its cost and its quality.

It reads `emm_energy`, which the pipeline computes: a day has one point per meter, at its beginning. `GROUP BY
time(15m)` adds the meters of each day, whatever the time zone of the days is.

A year of 1000 meters has to open within a second, and InfluxDB opens each series in each week. So with "All", numbers
and bars read `emm_energy_total`, where all meters are one series. The tables need single meters: they have a limited
time, and so do their queries. The row that is closed at first has what takes longer; Grafana does not send its queries
until it is opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana_foundation_sdk.builders.dashboard import Dashboard, QueryVariable, Row
from grafana_foundation_sdk.models.dashboard import (
    DataTransformerConfig,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from dashboards.influxql import DATASOURCE, Query
from dashboards.panels import BLUE, GREEN, ORANGE, RED, bars, column, number, rows

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import stat, table, timeseries

UID = "emm-energy"

_ALL_METERS = "all|hour|day|month"
"""The text that Grafana inserts for "All", unescaped: the id of totals, and every period; none is the id of a meter."""

_BOTH = '"emm_energy", "emm_energy_total"'
_METER = '"id" =~ /^(${meter:regex})$/'
"""The selected meters, or the totals. InfluxDB looks such a list up; any other expression is matched with each id."""
_COUNTER = '"measurement" =~ /^${measurement:regex}$/'
_SELECTED = f"{_METER} AND {_COUNTER}"
_EACH_METER = f'({_METER} OR "period" =~ /^(${{meter:regex}})$/)'
"""The selected meters, or every one."""
_EACH_SELECTED = f"{_EACH_METER} AND {_COUNTER}"
_LAST_DAYS = 31
_SHOWN_DAYS = f"$timeFilter AND time >= ${{__to}}ms - {_LAST_DAYS}d"


def build() -> Dashboard:
    """Return the dashboard."""
    return (
        Dashboard("Energy")
        .uid(UID)
        .tags(["emm"])
        .time("now-30d/d", "now")
        .refresh("5m")
        .with_variable(_variable("meter", "id", _ALL_METERS).label("Meter (id)"))
        .with_variable(_variable("measurement", "measurement", ".*", "importActiveEnergy").label("Counter"))
        .with_panel(_total("Today", "hour", "now/d").span(5).height(5))
        .with_panel(_total("This month, until yesterday", "day", "now/M").span(5).height(5))
        .with_panel(_total("The month before", "day", "now/M").time_shift("1M").span(5).height(5))
        .with_panel(
            number(
                "Cost this month, until yesterday",
                Query(f'SELECT sum("cost") FROM {_BOTH} WHERE "period" = \'day\' AND {_METER} AND $timeFilter'),
                steps={0: BLUE},
                description="Of all counters with a price; without base prices, in the currency of the tariffs.",
            )
            .decimals(2)
            .time_from("now/M")
            .span(5)
            .height(5)
        )
        .with_panel(
            number(
                "Lowest coverage",
                Query(f'SELECT min("coverage") FROM {_BOTH} WHERE "period" = \'day\' AND {_SELECTED} AND $timeFilter'),
                unit="percent",
                steps={0: RED, 90: ORANGE, 99: GREEN},
                description="Of a day of a meter: the part of the time in which it was read.",
            )
            .span(4)
            .height(5)
        )
        .with_panel(_bars("day", "Day by day").span(12).height(9))
        .with_panel(_bars("day", "Day by day, a month earlier").time_shift("1M").span(12).height(9))
        .with_panel(_bars("hour", "Hour by hour").time_from("2d").span(12).height(9))
        .with_panel(_bars("month", "Month by month").time_from("13M").span(12).height(9))
        .with_panel(
            _by_meter(
                "By meter",
                _SHOWN_DAYS,
                f"Of whole days: the last {_LAST_DAYS} of the selected time. The table beside it is of months. The row "
                "Each meter, below, has all days of the selected time.",
            )
            .span(12)
            .height(10)
        )
        .with_panel(_by_meter_of_months().time_from("13M").span(12).height(10))
        .with_panel(
            _days_to_look_at(
                "Days to look at",
                _SHOWN_DAYS,
                "Days with a counter that fell or jumped, with estimated energy, or with few readings; among the last "
                f"{_LAST_DAYS} days of the selected time. The row Each meter, below, has all of the selected time.",
            )
            .span(12)
            .height(10)
        )
        .with_panel(_cost("Cost, day by day").span(12).height(10))
        .with_row(
            Row("Each meter")
            .with_panel(_bars_of_each("day", "Each meter, day by day").span(12).height(9))
            .with_panel(_bars_of_each("hour", "Each meter, hour by hour").time_from("2d").span(12).height(9))
            .with_panel(_bars_of_each("month", "Each meter, month by month").time_from("13M").span(12).height(9))
            .with_panel(_cost_of_each("Cost of each meter, day by day").span(12).height(9))
            .with_panel(
                _by_meter("By meter, all days", "$timeFilter", "Of all whole days in the selected time.")
                .span(12)
                .height(10)
            )
            .with_panel(
                _days_to_look_at("All days to look at", "$timeFilter", "Of all days in the selected time.")
                .span(12)
                .height(10)
            )
        )
    )


def _total(title: str, period: str, since: str) -> stat.Panel:
    query = f'SELECT sum("energy") FROM {_BOTH} WHERE "period" = \'{period}\' AND {_SELECTED} AND $timeFilter'
    return number(title, Query(query), unit="kwatth", steps={0: BLUE}).decimals(1).time_from(since)


def _bars(period: str, title: str) -> timeseries.Panel:
    query = (
        f'SELECT sum("energy") FROM {_BOTH} WHERE "period" = \'{period}\' AND {_SELECTED} AND $timeFilter '
        'GROUP BY time(15m), "measurement", "dataunit" fill(none)'
    )
    return bars(title, Query(query, alias="$tag_measurement [$tag_dataunit]"))


def _bars_of_each(period: str, title: str) -> timeseries.Panel:
    query = (
        f'SELECT sum("energy") FROM "emm_energy" WHERE "period" = \'{period}\' AND {_EACH_SELECTED} AND $timeFilter '
        'GROUP BY time(15m), "measurement", "dataunit", "id" fill(none)'
    )
    return bars(title, Query(query, alias="meter $tag_id, $tag_measurement [$tag_dataunit]"))


def _cost(title: str) -> timeseries.Panel:
    query = (
        f'SELECT sum("cost") FROM {_BOTH} WHERE "period" = \'day\' AND {_METER} AND $timeFilter '
        "GROUP BY time(15m) fill(none)"
    )
    return bars(title, Query(query, alias="cost"))


def _cost_of_each(title: str) -> timeseries.Panel:
    query = (
        f'SELECT sum("cost") FROM "emm_energy" WHERE "period" = \'day\' AND {_EACH_METER} AND $timeFilter '
        'GROUP BY time(15m), "id" fill(none)'
    )
    return bars(title, Query(query, alias="meter $tag_id"))


def _by_meter(title: str, time: str, description: str) -> table.Panel:
    query = (
        'SELECT sum("energy") AS "energy", min("coverage") AS "coverage", last("description") AS "description" '
        f'FROM "emm_energy" WHERE "period" = \'day\' AND {_EACH_SELECTED} AND {time} GROUP BY "id", "dataunit"'
    )
    panel = rows(title, Query(query, table=True), transformations=[_hide("Time")], description=description)
    return panel.override_by_name("coverage", column("percent", "lowest coverage"))


def _by_meter_of_months() -> table.Panel:
    """Return the table of months. Grafana adds them: in InfluxDB, each sum takes as long as reading all fields."""
    query = (
        'SELECT "energy", "coverage", "description" FROM "emm_energy" '
        f'WHERE "period" = \'month\' AND {_EACH_SELECTED} AND $timeFilter GROUP BY "id", "dataunit"'
    )
    fields = {
        **{key: {"operation": "groupby", "aggregations": []} for key in ("id", "dataunit")},
        **{key: {"operation": "aggregate", "aggregations": [how]} for key, how in _REDUCED.items()},
    }
    panel = rows(
        "By meter, whole months",
        Query(query, table=True),
        transformations=[DataTransformerConfig(id_val="groupBy", options={"fields": fields})],
        description="Of the months that are over. The table beside it is of days.",
    )
    names = {"energy": "energy", "coverage": "lowest coverage", "description": "description"}
    for key, how in _REDUCED.items():
        unit = "percent" if key == "coverage" else ""
        panel = panel.override_by_name(f"{key} ({how})", column(unit, names[key]))
    return panel


_REDUCED = {"energy": "sum", "coverage": "min", "description": "lastNotNull"}
"""How Grafana reduces the months of a meter. It names the column after both, as `energy (sum)`."""


def _days_to_look_at(title: str, time: str, description: str) -> table.Panel:
    query = (
        'SELECT "description", "energy", "coverage", "flags" FROM "emm_energy" WHERE "period" = \'day\' '
        f'AND {_EACH_SELECTED} AND ("flags" =~ /reset|replaced|glitch|rollover|estimated/ OR "coverage" < 90) '
        f'AND {time} GROUP BY "id" ORDER BY time DESC LIMIT 50'
    )
    panel = rows(title, Query(query, table=True), description=description)
    return panel.override_by_name("coverage", column("percent"))


def _variable(name: str, tag: str, every: str, current: str = "") -> QueryVariable:
    option = VariableOption(text=current or "All", value=current or "$__all")
    return (
        QueryVariable(name)
        .datasource(DATASOURCE)
        .query(f'SHOW TAG VALUES FROM "emm_energy" WITH KEY = "{tag}"')
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.NATURAL_ASC)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(every)  # instead of all ids, of which there may be a thousand
        .current(option)
    )


def _hide(*columns: str) -> DataTransformerConfig:
    return DataTransformerConfig(id_val="organize", options={"excludeByName": dict.fromkeys(columns, True)})
