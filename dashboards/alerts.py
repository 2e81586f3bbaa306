"""Alert rules of Grafana: a meter without readings, and no points at all.

They are provisioned as paused: it depends on the site what is normal (a solar inverter is silent at night), and no
contact point is configured. docs/operation.md explains how to enable them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from grafana_foundation_sdk.builders import alerting, expr
from grafana_foundation_sdk.models.alerting import RelativeTimeRange

from dashboards.influxql import DATASOURCE_UID, Query

if TYPE_CHECKING:
    from grafana_foundation_sdk.cog.builder import Builder

FOLDER = "EMM"
GROUP = "emm"
EXPRESSION_UID = "__expr__"
SILENT_S = 15 * 60
"""A unit that keeps failing is polled at least every 5 minutes, so this is the time of three attempts."""

NoData = Literal["OK", "Alerting"]


def build() -> dict[str, Any]:
    """Return the content of the provisioning file for Grafana's alerting."""
    rules = [
        _rule(
            "emm-meter-silent",
            "Meter silent",
            'SELECT sum("points") FROM "emm_poll" WHERE $timeFilter GROUP BY "id", "description"',
            "Meter {{ $labels.id }} ({{ $labels.description }}) has had no reading for 15 minutes.",
            no_data="OK",  # then no meter is polled, for which the other rule raises an alert
        ),
        _rule(
            "emm-no-points",
            "No points stored",
            'SELECT sum("points") FROM "emm_poll" WHERE $timeFilter',
            "No points were stored for 15 minutes. Check that the pipeline and InfluxDB are running.",
            no_data="Alerting",
        ),
    ]
    group = {"orgId": 1, "name": GROUP, "folder": FOLDER, "interval": "1m"}
    return {"apiVersion": 1, "groups": [group | {"rules": [rule.build() for rule in rules]}]}


def _rule(uid: str, title: str, query: str, summary: str, no_data: NoData) -> alerting.Rule:
    points = alerting.Query("A").datasource_uid(DATASOURCE_UID).model(Query(query))
    last = expr.TypeReduce().expression("A").reducer("last").ref_id("B")
    none = expr.TypeThreshold().expression("B").conditions([_below(1)]).ref_id("C")
    return (
        alerting.Rule(title)
        .uid(uid)
        .with_query(points.relative_time_range(RelativeTimeRange(from_val=SILENT_S, to=0)))
        .with_query(_expression("B", last))
        .with_query(_expression("C", none))
        .condition("C")
        .for_val("0s")
        .no_data_state(no_data)
        .exec_err_state("Error")
        .annotations({"summary": summary})
        .is_paused(is_paused=True)
    )


def _expression(ref_id: str, model: Builder[Any]) -> alerting.Query:
    nothing = RelativeTimeRange(from_val=0, to=0)
    return alerting.Query(ref_id).datasource_uid(EXPRESSION_UID).model(model).relative_time_range(nothing)


def _below(value: float) -> expr.ExprTypeThresholdConditions:
    evaluator = expr.ExprTypeThresholdConditionsEvaluator().type("lt").params([value])
    return expr.ExprTypeThresholdConditions().evaluator(evaluator)
