"""Readings in InfluxDB 2.x, or 1.8 by its compatible API. The only module that knows influxdb_client."""

# mypy: disable-error-code="no-untyped-call"
# (influxdb_client says that it is typed, and its constructors are not)

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.domain.write_precision import WritePrecision
from influxdb_client.rest import ApiException
from influxdb_client.service.ping_service import PingService
from influxdb_client.service.write_service import WriteService
from urllib3.exceptions import HTTPError

from emm_pipeline.errors import ConfigurationError, RefusedPointsError, StoreError
from emm_pipeline.stores.points import listed, one_line, poll_lines, reading_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from emm_pipeline.readings import PollRecord

BATCH_LINES = 5000
_GZIP_LEVEL = 1
"""Line protocol shrinks to a tenth already; higher levels cost more time than the network."""
_NO_CONTENT = 204
_TOO_LARGE = 413
_REFUSED = frozenset({400, _TOO_LARGE, 422})
"""The content is at fault: syntax, type conflict, beyond retention (1.x: 400, 2.x: 400 or 422), or size."""
_ADVICE = {
    401: "check INFLUXDB_TOKEN",
    403: "the user or token of INFLUXDB_TOKEN may not write to INFLUXDB_BUCKET",
    404: "check INFLUXDB_BUCKET and INFLUXDB_ORG: InfluxDB does not know one of them",
    500: "if it says that a retention policy is missing, check INFLUXDB_BUCKET",
    502: "a proxy answers for an InfluxDB that is away: is InfluxDB running?",
    503: "InfluxDB, or a proxy for it, is not ready",
}
_NO_ANSWER = (HTTPError, OSError, UnicodeDecodeError)
"""Nothing listens, the connection broke, it took too long, or the answer is not even text."""


class InfluxReadingsStore:
    """A `ReadingsStore` in InfluxDB.

    Args:
        url: INFLUXDB_URL, as `http://host:8086`.
        token: INFLUXDB_TOKEN; for 1.8 `user:password`. No error ever contains it.
        org: INFLUXDB_ORG; 1.8 ignores it.
        bucket: INFLUXDB_BUCKET; for 1.8 `database/retention policy`.
        timeout_s: how long one request may take.

    Raises:
        ConfigurationError: the URL or the token cannot be used in a request.
    """

    def __init__(self, url: str, token: str, org: str, bucket: str, *, timeout_s: float = 10.0) -> None:
        self._where = f"InfluxDB at {_without_credentials(url)}"
        # http.client's own error would show the token
        if not (token.isascii() and token.isprintable()):
            raise ConfigurationError("INFLUXDB_TOKEN holds characters that an HTTP header cannot carry")
        self._token = token
        self._org = org
        self._bucket = bucket
        # a second attempt is the pipeline's business
        self._client = InfluxDBClient(url=url, token=token, org=org, timeout=int(timeout_s * 1000), retries=False)
        self._writes = WriteService(self._client.api_client)
        self._pings = PingService(self._client.api_client)

    def write(self, readings: pd.DataFrame, polls: Sequence[PollRecord]) -> None:
        """See `ReadingsStore.write`."""
        points, records = reading_lines(readings), poll_lines(polls)
        lines = points.lines + records.lines
        refused = points.refused + records.refused
        # a stack, so that the halves of a batch that is too large come next
        batches = [lines[start : start + BATCH_LINES] for start in range(0, len(lines), BATCH_LINES)][::-1]
        while batches:
            batch = batches.pop()
            try:
                self._post("\n".join(batch))
            except ApiException as error:
                if error.status not in _REFUSED:
                    raise StoreError(self._explain(error)) from None
                if error.status == _TOO_LARGE and len(batch) > 1:
                    middle = len(batch) // 2
                    batches += [batch[middle:], batch[:middle]]
                else:
                    reason = self._reason(error)
                    share = "some" if "partial write" in reason else "all"
                    refused.append(f"{share} of a batch of {len(batch)}, HTTP {error.status}: {reason}")
        if refused:
            raise RefusedPointsError(f"{self._where} refused points, and has all others: {listed(refused)}")

    def ping(self) -> None:
        """See `ReadingsStore.ping`. Tells nothing of token and bucket: only a write does."""
        try:
            self._pings.get_ping()
        except ApiException as error:
            raise StoreError(self._explain(error)) from None
        except _NO_ANSWER as error:
            raise StoreError(self._unreachable(error)) from None

    def close(self) -> None:
        """See `ReadingsStore.close`."""
        self._client.close()

    def _post(self, lines: str) -> None:
        """Sends one batch.

        Raises:
            ApiException: an HTTP status that is no success.
            StoreError: no answer, or one that InfluxDB would not give.
        """
        try:
            _, status, _ = self._writes.post_write_with_http_info(
                org=self._org,
                bucket=self._bucket,
                body=gzip.compress(lines.encode(), _GZIP_LEVEL),
                precision=WritePrecision.MS,
                content_encoding="gzip",
                content_type="text/plain; charset=utf-8",
                _return_http_data_only=False,
            )
        except _NO_ANSWER as error:
            raise StoreError(self._unreachable(error)) from None
        if status != _NO_CONTENT:
            raise StoreError(
                f"{self._where} answered HTTP {status}, which is not how InfluxDB acknowledges points: "
                "does INFLUXDB_URL lead to something else?"
            )

    def _explain(self, error: ApiException) -> str:
        if not error.status:  # how influxdb_client reports a TLS error
            return self._unreachable(error.reason)
        advice = _ADVICE.get(error.status)
        return f"{self._where} answered HTTP {error.status}: {self._reason(error)}" + (f"; {advice}" if advice else "")

    def _reason(self, error: ApiException) -> str:
        """What the server says in its body (`error` in 1.x, `message` in 2.x), or else the status line."""
        try:
            body = json.loads(error.body or "")
            reason = body.get("message") or body.get("error")
        except (ValueError, AttributeError):
            reason = None
        return self._redacted(reason or error.reason or "no reason given")

    def _unreachable(self, error: object) -> str:
        return f"{self._where} does not answer: {self._redacted(error)}; is InfluxDB running at INFLUXDB_URL?"

    def _redacted(self, text: object) -> str:
        shown = str(text)
        return one_line(shown.replace(self._token, "***") if self._token else shown)


def _without_credentials(url: str) -> str:
    """The URL as it may be shown; checks it on the way."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigurationError("INFLUXDB_URL is not of the form http://host:port")
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))
