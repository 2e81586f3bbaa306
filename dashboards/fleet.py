"""The dashboard Fleet health: results of polls, from the pipeline's own measurement `emm_poll`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana_foundation_sdk.builders import common
from grafana_foundation_sdk.builders.dashboard import CustomVariable, Dashboard
from grafana_foundation_sdk.models.dashboard import DataTransformerConfig, VariableOption

from dashboards.influxql import Query
from dashboards.panels import BLUE, GREEN, ORANGE, RED, bars, column, graph, number, rows

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import stat

UID = "emm-fleet"

NOW = ["5m", "15m", "1h", "1d"]

MAX_FAILURES = 5000
"""Maximum number of failed polls in the table of reasons; the latest are counted."""

_LAST_OF_EACH = 'SELECT last("ok") AS "ok" FROM "emm_poll" WHERE time > now() - $now GROUP BY "id"'


def now_window() -> CustomVariable:
    """How old the last poll of a meter may be to count as its present state; more than the poll interval."""
    options = [VariableOption(text=each, value=each, selected=each == "15m") for each in NOW]
    return (
        CustomVariable("now")
        .label("Latest poll within")
        .values(",".join(NOW))
        .options(options)
        .current(VariableOption(text="15m", value="15m"))
    )


def meters_now() -> stat.Panel:
    """The number of meters whose last poll succeeded."""
    return number("Meters OK", Query(f'SELECT sum("ok") FROM ({_LAST_OF_EACH})'))


def failed_now() -> stat.Panel:
    """The number of meters whose last poll failed."""
    query = Query(f'SELECT count("ok") - sum("ok") FROM ({_LAST_OF_EACH})')
    return number("Meters failed", query, steps={1: RED})


def success_rate() -> stat.Panel:
    """The percentage of polls that succeeded."""
    return number(
        "Successful polls",
        Query('SELECT mean("ok") * 100 FROM "emm_poll" WHERE $timeFilter'),
        unit="percent",
        steps={0: RED, 95: ORANGE, 99.5: GREEN},
    )


def build() -> Dashboard:
    """Return the dashboard."""
    return (
        Dashboard("Fleet health")
        .uid(UID)
        .tags(["emm"])
        .time("now-6h", "now")
        .refresh("1m")
        .with_variable(now_window())
        .with_panel(meters_now().span(6).height(5))
        .with_panel(failed_now().span(6).height(5))
        .with_panel(success_rate().span(6).height(5))
        .with_panel(
            number(
                "Points in the latest minute",
                Query('SELECT sum("points") FROM "emm_poll" WHERE $timeFilter GROUP BY time(1m) fill(none)'),
                steps={0: BLUE},
            )
            .span(6)
            .height(5)
        )
        .with_panel(
            graph(
                "Success rate",
                Query(
                    'SELECT mean("ok") * 100 FROM "emm_poll" WHERE $timeFilter GROUP BY time($__interval) fill(none)',
                    alias="successful polls",
                ),
                unit="percent",
            )
            .min(0)
            .max(100)
            .interval("1m")
            .span(12)
            .height(8)
        )
        .with_panel(
            bars(
                "Points per minute",
                Query(
                    'SELECT mean("points") FROM (SELECT sum("points") AS "points" FROM "emm_poll" WHERE $timeFilter '
                    "GROUP BY time(1m)) WHERE $timeFilter GROUP BY time($__interval) fill(none)",
                    alias="points",
                ),
                unit="short",
            )
            .interval("1m")
            .span(12)
            .height(8)
        )
        .with_panel(
            graph(
                "Latency of a poll",
                Query(
                    # The mean of each meter first: percentiles of all polls of a month take three times as long.
                    'SELECT percentile("latency", 50) AS "median", percentile("latency", 95) AS "95th percentile" FROM '
                    '(SELECT mean("latency_ms") AS "latency" FROM "emm_poll" WHERE $timeFilter AND "ok" = 1 '
                    'GROUP BY time($__interval), "id") WHERE $timeFilter GROUP BY time($__interval) fill(none)',
                    alias="$col",
                ),
                unit="ms",
                description="Median and 95th percentile of the meters' mean latencies.",
            )
            .interval("1m")
            .span(12)
            .height(9)
        )
        .with_panel(
            rows(
                "Slowest 50 meters by mean latency",
                Query(
                    'SELECT top("latency", "id", 50) AS "latency" FROM (SELECT mean("latency_ms") AS "latency" '
                    'FROM "emm_poll" WHERE $timeFilter AND "ok" = 1 GROUP BY "id")',
                    table=True,
                ),
                transformations=[_join_by("id"), _show("id", "description", "latency")],
            )
            # A mean has no description: a renamed meter has several, of which the latest one is shown.
            .with_target(
                Query(
                    'SELECT last("ok"), "description" FROM "emm_poll" WHERE $timeFilter AND "ok" = 1 GROUP BY "id"',
                    table=True,
                    ref_id="B",
                )
            )
            # By regular expressions: Grafana may add the name of the query's result to the names of joined columns.
            .override_by_regexp("^id", column(name="id"))
            .override_by_regexp("^description", column(name="description"))
            .override_by_regexp("^latency", column("ms", "mean latency"))
            .sort_by([common.TableSortByFieldState().display_name("mean latency").desc(desc=True)])
            .span(12)
            .height(9)
        )
        .with_panel(
            rows(
                "Failures by reason",
                Query(
                    'SELECT "error", "ok" FROM "emm_poll" WHERE $timeFilter AND "ok" = 0 '
                    f"ORDER BY time DESC LIMIT {MAX_FAILURES}",
                    table=True,
                ),
                transformations=[_count_by("error", counted="ok")],
                description=f"Reasons of failed polls. At most the latest {MAX_FAILURES} are counted.",
            )
            .override_by_name("ok (count)", column("short", "failed polls", width=140))
            .span(12)
            .height(10)
        )
        .with_panel(
            rows(
                "Last reading of each meter",
                Query(
                    # By id alone: a renamed meter is not a silent one. The description is that of the last reading.
                    'SELECT last("points"), "description" FROM "emm_poll" WHERE time > now() - 30d AND "points" > 0 '
                    'GROUP BY "id"',
                    table=True,
                ),
                transformations=[_hide("last"), _sort_by("Time")],
                description="Meters with a reading in the last 30 days, sorted by age; the oldest reading comes first.",
            )
            .override_by_name("Time", column("dateTimeFromNow", "last reading"))
            .span(12)
            .height(10)
        )
    )


def _hide(*columns: str) -> DataTransformerConfig:
    return DataTransformerConfig(id_val="organize", options={"excludeByName": dict.fromkeys(columns, True)})


def _show(*columns: str) -> DataTransformerConfig:
    options = {"include": {"pattern": f"^({'|'.join(columns)})"}}
    return DataTransformerConfig(id_val="filterFieldsByName", options=options)


def _join_by(column_name: str) -> DataTransformerConfig:
    """Return the rows that both queries have, with the columns of both."""
    return DataTransformerConfig(id_val="joinByField", options={"byField": column_name, "mode": "inner"})


def _sort_by(column_name: str) -> DataTransformerConfig:
    return DataTransformerConfig(id_val="sortBy", options={"sort": [{"field": column_name, "desc": False}]})


def _count_by(column_name: str, counted: str) -> DataTransformerConfig:
    fields = {
        column_name: {"aggregations": [], "operation": "groupby"},
        counted: {"aggregations": ["count"], "operation": "aggregate"},
    }
    return DataTransformerConfig(id_val="groupBy", options={"fields": fields})
