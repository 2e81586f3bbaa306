"""Read points from InfluxDB by InfluxQL, which 1.8 and 2.x answer, with a token that may only read."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import urllib3

from emm_pipeline.credentials import hide_credentials, hide_url
from emm_pipeline.errors import StoreAccessError, StoreError
from emm_pipeline.naming import POLL_MEASUREMENT
from emm_pipeline.stores.charts import FailedPoll, Step
from emm_pipeline.stores.points import PointBatch
from emm_pipeline.stores.texts import one_line

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from emm_pipeline.stores.charts import Series

TIMEOUT_S = 10.0
_OK = 200
_NO_ACCESS = frozenset({401, 403, 404})


class InfluxCharts:
    """A `ChartData` in InfluxDB.

    Args:
        url: INFLUXDB_URL.
        token: INFLUXDB_READ_TOKEN, or INFLUXDB_TOKEN; for 1.8 `user:password`. No error contains it.
        bucket: INFLUXDB_BUCKET; for 1.8 `database/retention policy`.
    """

    def __init__(self, url: str, token: str, bucket: str) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._database, _, self._policy = bucket.partition("/")
        # 1.x accepts the login of a user in queries by HTTP Basic only; a token of 2.x contains no colon.
        self._headers = (
            urllib3.make_headers(basic_auth=token, basic_auth_encoding="utf-8")
            if ":" in token
            else {"Authorization": f"Token {token}"}
        )
        self._http = urllib3.PoolManager(timeout=TIMEOUT_S, retries=False)

    def steps(self, series: Series, start: datetime, end: datetime, step_s: int) -> Sequence[Step]:
        """See `ChartData.steps`."""
        query = (
            f"SELECT mean(value), min(value), max(value) FROM {_name(series.measurement)} "  # noqa: S608 - quoted
            f"WHERE id = '{series.meter_id:d}' AND dataunit = {_text(series.unit or '')} "
            f"AND time >= {_ms(start)}ms AND time < {_ms(end)}ms GROUP BY time({int(step_s)}s) fill(none)"
        )
        rows = [row for found in self._query(query) for row in found["values"]]
        return [Step(time // 1000, mean, low, high) for time, mean, low, high in rows]

    def failed_polls(self, meter_id: int, start: datetime, limit: int) -> Sequence[FailedPoll]:
        """See `ChartData.failed_polls`."""
        query = (
            f"SELECT ok, error FROM {_name(POLL_MEASUREMENT)} WHERE id = '{meter_id:d}' AND ok = 0 "  # noqa: S608 - quoted
            f"AND time >= {_ms(start)}ms ORDER BY time DESC LIMIT {int(limit)}"
        )
        rows = [row for found in self._query(query) for row in found["values"]]
        return [FailedPoll(datetime.fromtimestamp(time / 1000, UTC), error) for time, _, error in rows]

    def latest(self, meter_ids: Collection[int], since: datetime) -> PointBatch:
        """See `ChartData.latest`."""
        if not meter_ids:
            return PointBatch.of()
        ids = "|".join(str(int(id_)) for id_ in sorted(meter_ids))
        query = (
            f"SELECT last(value) AS value FROM /.*/ WHERE id =~ /^({ids})$/ AND time >= {_ms(since)}ms "  # noqa: S608 - numbers
            "GROUP BY id, dataunit, description"
        )
        return PointBatch.of(
            {
                "time": time,
                "id": int(found["tags"]["id"]),
                "description": found["tags"].get("description") or None,
                "measurement": found["name"],
                "unit": found["tags"].get("dataunit") or None,
                "value": value,
            }
            for found in self._query(query)
            for time, value in found["values"]
        )

    def _query(self, query: str) -> Iterator[dict[str, Any]]:
        fields = {"db": self._database, "epoch": "ms", "q": query} | ({"rp": self._policy} if self._policy else {})
        where = f"InfluxDB at {hide_credentials(self._url)}"
        try:
            answer = self._http.request("GET", f"{self._url}/query", fields=fields, headers=self._headers)
            body: dict[str, Any] = json.loads(answer.data)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as err:
            raise StoreError(f"{where} does not answer: {self._redacted(err)}") from None
        results = body.get("results", [{}])
        if error := body.get("error") or body.get("message") or results[0].get("error"):
            kind = StoreAccessError if answer.status in _NO_ACCESS else StoreError
            raise kind(f"{where} answered HTTP {answer.status}: {self._redacted(error)}; check INFLUXDB_READ_TOKEN")
        if answer.status != _OK:
            raise StoreError(f"{where} answered HTTP {answer.status}")
        yield from results[0].get("series", ())

    def _redacted(self, text: object) -> str:
        shown = hide_url(str(text), self._url)
        return one_line(shown.replace(self._token, "***") if self._token else shown)


def _ms(time: datetime) -> int:
    return round(time.timestamp() * 1000)


def _name(text: str) -> str:
    """Return a measurement's name as an InfluxQL identifier."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _text(text: str) -> str:
    """Return a text as an InfluxQL string."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"
