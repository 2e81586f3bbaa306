"""Alert rules of Grafana: a meter without readings, and no points at all.

GRAFANA_ALERTS switches them on, and the poll schedule decides after what time they raise an alert. Grafana takes both
from files that the stack writes (`emm_pipeline/access/grafana_alerts.py`). Grafana replaces `$NAME` in these rules by
environment variables, so that a `$` of its own must be written as `$$`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from grafana_foundation_sdk.builders import alerting, expr
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.alerting import RelativeTimeRange

from dashboards.influxql import DATASOURCE_UID, Query

if TYPE_CHECKING:
    from grafana_foundation_sdk.cog.builder import Builder

FOLDER = "EMM"
GROUP = "emm"
EXPRESSION_UID = "__expr__"
FILES = "/run/emm/grafana"
PAUSED, WINDOW, WINDOW_TEXT = (
    f"$__file{{{FILES}/{name}}}" for name in ("alerts_paused", "alert_window", "alert_window_text")
)
"""References to files: `true` or `false`, a duration of InfluxQL such as `900s`, and the same as text."""

_WITHIN_WINDOW = f"time > now() - {WINDOW}"
_RANGE_S = 3600
"""The range of the rule, which must not be empty. The queries do not use it, but the window in the file."""

NoData = Literal["OK", "Alerting"]


def build() -> dict[str, Any]:
    """Return the content of the provisioning file for Grafana's alerting."""
    rules = [
        _rule(
            "emm-meter-silent",
            "Meter silent",
            # A meter that is asleep may be silent. By id alone: the old description of a renamed meter has no readings.
            f'SELECT sum("points") FROM "emm_poll" WHERE {_WITHIN_WINDOW} AND "status" != \'asleep\' GROUP BY "id"',
            f"Meter {{{{ $$labels.id }}}} has had no reading for {WINDOW_TEXT}. Fleet health shows its name.",
            no_data="OK",  # then no meter is polled, for which the other rule raises an alert
        ),
        _rule(
            "emm-no-points",
            "No points stored",
            f'SELECT sum("points") FROM "emm_poll" WHERE {_WITHIN_WINDOW}',
            f"No points were stored for {WINDOW_TEXT}. Check that the pipeline and InfluxDB are running.",
            no_data="Alerting",
        ),
    ]
    group = {"orgId": 1, "name": GROUP, "folder": FOLDER, "interval": "1m"}
    return {"apiVersion": 1, "groups": [group | {"rules": rules}]}


def _rule(uid: str, title: str, query: str, summary: str, no_data: NoData) -> dict[str, Any]:
    points = alerting.Query("A").datasource_uid(DATASOURCE_UID).model(Query(query))
    last = expr.TypeReduce().expression("A").reducer("last").ref_id("B")
    none = expr.TypeThreshold().expression("B").conditions([_below(1)]).ref_id("C")
    rule = (
        alerting.Rule(title)
        .uid(uid)
        .with_query(points.relative_time_range(RelativeTimeRange(from_val=_RANGE_S, to=0)))
        .with_query(_expression("B", last))
        .with_query(_expression("C", none))
        .condition("C")
        .for_val("0s")
        .no_data_state(no_data)
        .exec_err_state("Error")
        .annotations({"summary": summary})
        .build()
    )
    content: dict[str, Any] = json.loads(json.dumps(rule, cls=JSONEncoder))
    return content | {"isPaused": PAUSED}  # the SDK allows only a boolean


def _expression(ref_id: str, model: Builder[Any]) -> alerting.Query:
    nothing = RelativeTimeRange(from_val=0, to=0)
    return alerting.Query(ref_id).datasource_uid(EXPRESSION_UID).model(model).relative_time_range(nothing)


def _below(value: float) -> expr.ExprTypeThresholdConditions:
    evaluator = expr.ExprTypeThresholdConditionsEvaluator().type("lt").params([value])
    return expr.ExprTypeThresholdConditions().evaluator(evaluator)
