"""The dashboard Energy: what flowed today, this month and each day, by meter, with its cost and its quality.

It reads `emm_energy`, which the pipeline computes. A day has one point per meter, at its beginning, so `GROUP BY
time(1h)` adds the meters of each day, whatever the time zone of the days is. The bars add the selected meters. Those of
each meter are in a row that is closed at first: Grafana does not send its queries, which are slow for many meters.
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
from dashboards.panels import BLUE, GREEN, ORANGE, RED, WIDTH, bars, column, number, rows

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import stat, timeseries

UID = "emm-energy"

_SELECTED = '"id" =~ /^${meter:regex}$/ AND "measurement" =~ /^${measurement:regex}$/'
_METER = '"id" =~ /^${meter:regex}$/'
_EACH = ', "id"'


def build() -> Dashboard:
    """Return the dashboard."""
    return (
        Dashboard("Energy")
        .uid(UID)
        .tags(["emm"])
        .time("now-30d/d", "now")
        .refresh("5m")
        .with_variable(_variable("meter", "id").label("Meter (id)"))
        .with_variable(_variable("measurement", "measurement", "importActiveEnergy").label("Counter"))
        .with_panel(_total("Today", "hour", "now/d").span(5).height(5))
        .with_panel(_total("This month, until yesterday", "day", "now/M").span(5).height(5))
        .with_panel(_total("The month before", "day", "now/M").time_shift("1M").span(5).height(5))
        .with_panel(
            number(
                "Cost this month, until yesterday",
                Query(f'SELECT sum("cost") FROM "emm_energy" WHERE "period" = \'day\' AND {_METER} AND $timeFilter'),
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
                Query(
                    f'SELECT min("coverage") FROM "emm_energy" WHERE "period" = \'day\' AND {_SELECTED} AND $timeFilter'
                ),
                unit="percent",
                steps={0: RED, 90: ORANGE, 99: GREEN},
                description="Of a day of a meter: the part of the time in which it was read.",
            )
            .span(4)
            .height(5)
        )
        .with_panel(_by("day", "Day by day").span(12).height(9))
        .with_panel(_by("day", "Day by day, a month earlier").time_shift("1M").span(12).height(9))
        .with_panel(_by("hour", "Hour by hour").time_from("2d").span(12).height(9))
        .with_panel(_by("month", "Month by month").time_from("13M").span(12).height(9))
        .with_panel(
            rows(
                "By meter",
                Query(
                    'SELECT sum("energy") AS "energy", min("coverage") AS "coverage", '
                    f'last("description") AS "description" FROM "emm_energy" WHERE "period" = \'day\' AND {_SELECTED} '
                    'AND $timeFilter GROUP BY "id", "dataunit"',
                    table=True,
                ),
                transformations=[_hide("Time")],
                description="Of whole days. The table beside it lists those with estimated energy.",
            )
            .override_by_name("coverage", column("percent", "lowest coverage"))
            .span(12)
            .height(10)
        )
        .with_panel(
            rows(
                "Days to look at",
                Query(
                    'SELECT "description", "energy", "coverage", "flags" FROM "emm_energy" WHERE "period" = \'day\' '
                    f'AND {_SELECTED} AND ("flags" =~ /reset|replaced|glitch|rollover|estimated/ OR "coverage" < 90) '
                    'AND $timeFilter GROUP BY "id" ORDER BY time DESC LIMIT 50',
                    table=True,
                ),
                description="Days with a counter that fell or jumped, with estimated energy, or with few readings.",
            )
            .override_by_name("coverage", column("percent"))
            .span(12)
            .height(10)
        )
        .with_panel(_cost("Cost, day by day").span(WIDTH).height(9))
        .with_row(
            Row("Each meter")
            .with_panel(_by("day", "Each meter, day by day", _EACH).span(12).height(9))
            .with_panel(_by("hour", "Each meter, hour by hour", _EACH).time_from("2d").span(12).height(9))
            .with_panel(_by("month", "Each meter, month by month", _EACH).time_from("13M").span(12).height(9))
            .with_panel(_cost("Cost of each meter, day by day", _EACH).span(12).height(9))
        )
    )


def _total(title: str, period: str, since: str) -> stat.Panel:
    query = f'SELECT sum("energy") FROM "emm_energy" WHERE "period" = \'{period}\' AND {_SELECTED} AND $timeFilter'
    return number(title, Query(query), unit="kwatth", steps={0: BLUE}).decimals(1).time_from(since)


def _by(period: str, title: str, each: str = "") -> timeseries.Panel:
    query = (
        f'SELECT sum("energy") FROM "emm_energy" WHERE "period" = \'{period}\' AND {_SELECTED} AND $timeFilter '
        f'GROUP BY time(1h), "measurement", "dataunit"{each} fill(none)'
    )
    meter = "meter $tag_id, " if each else ""
    return bars(title, Query(query, alias=f"{meter}$tag_measurement [$tag_dataunit]"))


def _cost(title: str, each: str = "") -> timeseries.Panel:
    query = (
        f'SELECT sum("cost") FROM "emm_energy" WHERE "period" = \'day\' AND {_METER} AND $timeFilter '
        f"GROUP BY time(1h){each} fill(none)"
    )
    return bars(title, Query(query, alias="meter $tag_id" if each else "cost"))


def _variable(name: str, tag: str, current: str = "") -> QueryVariable:
    option = VariableOption(text=current or "All", value=current or "$__all")
    return (
        QueryVariable(name)
        .datasource(DATASOURCE)
        .query(f'SHOW TAG VALUES FROM "emm_energy" WITH KEY = "{tag}"')
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.NATURAL_ASC)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".*")  # instead of all ids, of which there may be a thousand
        .current(option)
    )


def _hide(*columns: str) -> DataTransformerConfig:
    return DataTransformerConfig(id_val="organize", options={"excludeByName": dict.fromkeys(columns, True)})
