"""The dashboard Home: the value of the example meter, and a summary of the fleet."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.fleet import failed_now, meters_now, now_window, success_rate
from dashboards.influxql import Query
from dashboards.panels import dial, graph

UID = "emm-home"


def build() -> Dashboard:
    """Return the dashboard."""
    return (
        Dashboard("Home")
        .uid(UID)
        .tags(["emm"])
        .time("now-1h", "now")
        .refresh("30s")
        .with_variable(now_window())
        .with_panel(
            graph(
                "test_measurement",
                Query(
                    'SELECT mean("value") FROM "test_measurement" WHERE $timeFilter '
                    'GROUP BY time($__interval), "id" fill(none)',
                    alias="meter $tag_id",
                ),
                description="A random number between 0 and 100 from the virtual meter that is part of EMM.",
            )
            .span(18)
            .height(9)
        )
        .with_panel(
            dial(
                "test_measurement, latest value",
                Query('SELECT last("value") FROM "test_measurement" WHERE $timeFilter'),
                lowest=0,
                highest=100,
            )
            .span(6)
            .height(9)
        )
        .with_panel(meters_now().span(8).height(5))
        .with_panel(failed_now().span(8).height(5))
        .with_panel(success_rate().span(8).height(5))
    )
