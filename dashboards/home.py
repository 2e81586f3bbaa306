"""Home: the example's number, and the fleet at a glance."""

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
                    'GROUP BY time($__interval), "id", "description" fill(none)',
                    alias="$tag_description ($tag_id)",
                ),
                description="The virtual meter that comes with EMM serves a number that wanders between 0 and 100.",
            )
            .span(18)
            .height(9)
        )
        .with_panel(
            dial(
                "test_measurement, last",
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
