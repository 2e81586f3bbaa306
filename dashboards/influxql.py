"""An InfluxQL query as the target of a panel. The SDK has builders for other databases but not for InfluxDB."""

from __future__ import annotations

from typing import Any, Literal

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.runtime import DataqueryConfig, Runtime
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.common import DataSourceRef

DATASOURCE_UID = "influxdb"
"""The uid in config/grafana/datasources/influxdb.yml."""

DATASOURCE = DataSourceRef(type_val="influxdb", uid=DATASOURCE_UID)

ResultFormat = Literal["time_series", "table"]


class InfluxQuery(Dataquery):
    """A raw InfluxQL query."""

    def __init__(self, query: str, alias: str, result_format: ResultFormat, ref_id: str = "A") -> None:
        self.query = query
        self.alias = alias
        self.result_format = result_format
        self.ref_id = ref_id

    def to_json(self) -> dict[str, object]:
        """Return the query as Grafana's InfluxDB plugin stores it in a dashboard."""
        return {
            "datasource": DATASOURCE,
            "refId": self.ref_id,
            "rawQuery": True,
            "query": self.query,
            "alias": self.alias,
            "resultFormat": self.result_format,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> InfluxQuery:
        """Return the query that `to_json` has written."""
        return cls(data["query"], data["alias"], data["resultFormat"], data["refId"])


class Query(Builder[Dataquery]):
    """Builds an `InfluxQuery`.

    Args:
        query: InfluxQL, which may contain Grafana's variables.
        alias: Name of each series; `$m` is the measurement, `$tag_…` a tag.
        table: Whether the result is a table instead of time series.
        ref_id: A letter that alert rules use to combine queries.
    """

    def __init__(self, query: str, *, alias: str = "", table: bool = False, ref_id: str = "A") -> None:
        self._query = InfluxQuery(query, alias, "table" if table else "time_series", ref_id)

    def build(self) -> Dataquery:
        """Return the query."""
        return self._query


def register() -> None:
    """Register `InfluxQuery` with the SDK, so that it can read a dashboard's JSON."""
    Runtime().register_dataquery_variant(DataqueryConfig("influxdb", InfluxQuery.from_json))
