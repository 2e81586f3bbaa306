"""The dashboard Meter: all values of one meter."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, QueryVariable
from grafana_foundation_sdk.models.dashboard import (
    DataTransformerConfig,
    VariableHide,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from dashboards.influxql import DATASOURCE, Query
from dashboards.panels import WIDTH, bars, column, graph, rows

UID = "emm-meter"

# A meter without a description has no such tag and is selected by its id.
_SELECTED = '("description" =~ /^${meter:regex}$/ OR "id" =~ /^${meter:regex}$/)'
# All panels use the id, so that values from before a renaming are shown under any of the meter's names.
_METER = '"id" =~ /^${id:regex}$/'
_MEASUREMENT = "/^${measurement:regex}$/"
_ALIAS = "$m [$tag_dataunit] meter $tag_id"


def build() -> Dashboard:
    """Return the dashboard."""
    return (
        Dashboard("Meter")
        .uid(UID)
        .tags(["emm"])
        .time("now-24h", "now")
        .refresh("1m")
        .with_variable(_meter())
        .with_variable(_id())
        .with_variable(_measurement())
        .with_variable(_unit())
        .with_panel(
            graph("Values in $unit", _values('"dataunit" =~ /^${unit:regex}$/'))
            .repeat("unit")
            .repeat_direction("h")
            .max_per_row(2)
            .span(WIDTH)
            .height(9)
        )
        .with_panel(graph("Values without a unit", _values("\"dataunit\" = ''")).span(12).height(9))
        .with_panel(
            rows(
                "Latest values",
                Query(
                    f'SELECT last("value") FROM {_MEASUREMENT} WHERE {_METER} AND $timeFilter '
                    'GROUP BY "id", "dataunit"',
                    alias=_ALIAS,
                ),
                transformations=[DataTransformerConfig(id_val="reduce", options={"reducers": ["lastNotNull"]})],
            )
            .override_by_name("Field", column(name="measurement"))
            .override_by_name("Last *", column(name="value"))
            .span(12)
            .height(9)
        )
        .with_panel(
            bars(
                "Energy per day",
                Query(
                    f'SELECT sum("energy") FROM "emm_energy" WHERE "period" = \'day\' AND {_METER} '
                    f'AND "measurement" =~ {_MEASUREMENT} AND $timeFilter '
                    'GROUP BY time(15m), "id", "measurement", "dataunit" fill(none)',
                    alias="$tag_measurement [$tag_dataunit] meter $tag_id",
                ),
                description="Of whole days in TZ, as the pipeline has computed them: docs/energy.md. The dashboard "
                "Energy shows their cost and coverage.",
            )
            .time_from("14d/d")  # from the beginning of a day: the first bar must not be a part of one
            .span(WIDTH)
            .height(9)
        )
        .with_panel(
            rows(
                "All values, for CSV export",
                Query(
                    f'SELECT "value" FROM {_MEASUREMENT} WHERE {_METER} AND $timeFilter GROUP BY "id", "dataunit"',
                    alias=_ALIAS,
                ),
                transformations=[DataTransformerConfig(id_val="joinByField", options={"byField": "Time"})],
                description="One column per measurement. To export: panel menu → Inspect → Data → Download CSV.",
            )
            .span(WIDTH)
            .height(12)
        )
    )


def _values(condition: str) -> Query:
    return Query(
        f'SELECT mean("value") FROM {_MEASUREMENT} WHERE {_METER} AND {condition} AND $timeFilter '
        'GROUP BY time($__interval), "id", "dataunit" fill(none)',
        alias=_ALIAS,
    )


def _variable(name: str, query: str) -> QueryVariable:
    return (
        QueryVariable(name)
        .datasource(DATASOURCE)
        .query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.NATURAL_ASC)
    )


def _meter() -> QueryVariable:
    query = 'SHOW TAG VALUES FROM "emm_poll" WITH KEY IN ("description", "id")'
    return _variable("meter", query).label("Meter (description or id)")


def _id() -> QueryVariable:
    """The ids of the selected meter, also if it had another description before. The variable is hidden."""
    query = f'SHOW TAG VALUES FROM "emm_poll" WITH KEY = "id" WHERE {_SELECTED}'
    every = VariableOption(text="All", value="$__all")
    variable = _variable("id", query).hide(VariableHide.HIDE_VARIABLE)
    return variable.multi(multi=True).include_all(include_all=True).current(every)


def _measurement() -> QueryVariable:
    query = f"SHOW MEASUREMENTS WHERE {_METER}"
    every = VariableOption(text="All", value="$__all")
    variable = _variable("measurement", query).label("Measurement").regex("/^(?!emm_(poll|energy|energy_total)$).*/")
    return variable.multi(multi=True).include_all(include_all=True).current(every)


def _unit() -> QueryVariable:
    """The units of the selected meter. The variable is hidden; the first graph is repeated for each of its values."""
    query = f'SHOW TAG VALUES WITH KEY = "dataunit" WHERE {_METER}'
    every = VariableOption(text="All", value="$__all")
    variable = _variable("unit", query).hide(VariableHide.HIDE_VARIABLE)
    return variable.multi(multi=True).include_all(include_all=True).current(every)
