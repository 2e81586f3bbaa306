"""Panels with the settings that all dashboards share: graphs, numbers, gauges and tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana_foundation_sdk.builders import common, dashboard, gauge, stat, table, timeseries
from grafana_foundation_sdk.models.common import (
    BigValueGraphMode,
    GraphDrawStyle,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue, Threshold, ThresholdsMode

from dashboards.influxql import DATASOURCE, Query

if TYPE_CHECKING:
    from grafana_foundation_sdk.models.dashboard import DataTransformerConfig

WIDTH = 24
"""Width of a dashboard in grid columns."""

GREEN, ORANGE, RED, BLUE = "green", "orange", "red", "blue"


def graph(title: str, query: Query, *, unit: str = "", description: str = "") -> timeseries.Panel:
    """Return a line graph over time. Missing values are shown as gaps."""
    return (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .with_target(query)
        .unit(unit)
        .draw_style(GraphDrawStyle.LINE)
        .show_points(VisibilityMode.AUTO)
        .span_nulls(span_nulls=False)
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.TABLE)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(show_legend=True)
            .calcs(["lastNotNull", "min", "max"])
        )
    )


def bars(title: str, query: Query, *, unit: str = "", description: str = "") -> timeseries.Panel:
    """Return a bar graph with one bar per interval."""
    return graph(title, query, unit=unit, description=description).draw_style(GraphDrawStyle.BARS).fill_opacity(60)


def number(
    title: str, query: Query, *, unit: str = "", steps: dict[float, str] | None = None, description: str = ""
) -> stat.Panel:
    """Return a panel with one number. `steps` maps a value to the colour that applies from it upwards."""
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .with_target(query)
        .unit(unit)
        .no_value("no data")
        .graph_mode(BigValueGraphMode.NONE)
        .reduce_options(last_value())
        .thresholds(thresholds(steps or {}))
    )


def dial(title: str, query: Query, lowest: float, highest: float) -> gauge.Panel:
    """Return a gauge from `lowest` to `highest`."""
    return (
        gauge.Panel()
        .title(title)
        .datasource(DATASOURCE)
        .with_target(query)
        .min(lowest)
        .max(highest)
        .no_value("no data")
        .reduce_options(last_value())
        .thresholds(thresholds({}))
    )


def rows(
    title: str, query: Query, *, transformations: list[DataTransformerConfig] | None = None, description: str = ""
) -> table.Panel:
    """Return a table. Its menu exports the data as CSV: Inspect → Data."""
    return (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .with_target(query)
        .transformations(transformations or [])
        .filterable(filterable=True)
    )


def column(unit: str = "", name: str = "", *, width: int = 0) -> list[DynamicConfigValue]:
    """Return the unit, title and width in pixels of a table's column."""
    given = {"unit": unit, "displayName": name, "custom.width": width}
    return [DynamicConfigValue(id_val=id_, value=value) for id_, value in given.items() if value]


def last_value() -> common.ReduceDataOptions:
    """Reduce a series to its last value that is not null."""
    return common.ReduceDataOptions().calcs(["lastNotNull"]).values(values=False)


def thresholds(steps: dict[float, str]) -> dashboard.ThresholdsConfig:
    """Return colours by value: green below the first step."""
    return (
        dashboard.ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps(
            [
                Threshold(value=None, color=GREEN),
                *(Threshold(value=value, color=color) for value, color in steps.items()),
            ]
        )
    )
