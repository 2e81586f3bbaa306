"""Store readings in InfluxDB 2.x, or 1.8 by its compatible API. Only this module imports influxdb_client."""

# mypy: disable-error-code="no-untyped-call"
# (influxdb_client declares that it is typed, but its constructors are not)

from __future__ import annotations

import gzip
import json
import math
import re
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.domain.write_precision import WritePrecision
from influxdb_client.rest import ApiException
from influxdb_client.service.write_service import WriteService
from urllib3.exceptions import HTTPError

from emm_pipeline.credentials import hide_credentials, hide_url
from emm_pipeline.errors import ConfigurationError, StoreAccessError, StoreError
from emm_pipeline.stores.base import RejectedPoints
from emm_pipeline.stores.influxdb.certificates import require_ca_file
from emm_pipeline.stores.influxdb.line_protocol import LineProtocol
from emm_pipeline.stores.texts import one_line

if TYPE_CHECKING:
    from pathlib import Path

    from emm_pipeline.stores.points import PointBatch

BATCH_POINTS = 10_000
_GZIP_LEVEL = 1
"""This level already compresses line protocol to a tenth; higher levels take more time than the network."""
_NO_CONTENT = 204
_BAD_REQUEST = 400
_TOO_LARGE = 413
_REJECTED = frozenset({400, _TOO_LARGE, 422})
"""Statuses caused by the content: syntax, type conflict, beyond retention (1.x: 400, 2.x: 400 or 422), or size."""
_NO_ACCESS = frozenset({401, 403, 404})
_DROPPED = re.compile(r"\bdropped=(\d+)")
"""Pattern of InfluxDB's message about the number of points in a batch that it has not stored."""
_ADVICE = {
    401: "check INFLUXDB_TOKEN",
    403: "the user or token of INFLUXDB_TOKEN may not write to INFLUXDB_BUCKET",
    404: "check INFLUXDB_BUCKET and INFLUXDB_ORG: InfluxDB does not know one of them",
    502: "a proxy answers for InfluxDB, which is unavailable: is InfluxDB running?",
    503: "InfluxDB, or a proxy for it, is not ready",
}
_SERVER_ERROR = 500
_DISK_FULL = re.compile(r"no space left|not attempting to open shard|disk quota|engine: error", re.IGNORECASE)
_ADVICE_DISK = (
    "make room on InfluxDB's disk, then restart InfluxDB: it does not write to a shard again that it could not open"
)
_ADVICE_POLICY = "check INFLUXDB_BUCKET: its retention policy does not exist"
_NO_ANSWER = (HTTPError, OSError, UnicodeDecodeError)
"""Errors without an HTTP answer: no server listens, the connection broke, a timeout, or the answer is not text."""


class InfluxReadingsStore:
    """A `ReadingsStore` in InfluxDB.

    Args:
        url: INFLUXDB_URL, as `http://host:8086`.
        token: INFLUXDB_TOKEN; for 1.8 `user:password`. No error ever contains it.
        org: INFLUXDB_ORG; 1.8 ignores it.
        bucket: INFLUXDB_BUCKET; for 1.8 `database/retention policy`.
        timeout_s: the time limit of one request.
        ca_file: INFLUXDB_CA_FILE, the certificate of the authority that issued the server's.

    Raises:
        ConfigurationError: the URL or the token cannot be used in a request, or the file cannot be read.
    """

    def __init__(  # noqa: PLR0913  # what one connection needs
        self, url: str, token: str, org: str, bucket: str, *, timeout_s: float = 10.0, ca_file: Path | None = None
    ) -> None:
        _require_url(url)
        require_ca_file(ca_file)
        self._url = url
        self._where = f"InfluxDB at {hide_credentials(url)}"
        # http.client's own error would show the token
        if not (token.isascii() and token.isprintable()):
            raise ConfigurationError("INFLUXDB_TOKEN contains characters that are not allowed in an HTTP header")
        self._timeout_s = timeout_s
        self._token = token
        self._org = org
        self._bucket = bucket
        # no retries by the client, because `delivery` retries
        self._client = InfluxDBClient(
            url=url, token=token, org=org, retries=False, ssl_ca_cert=str(ca_file) if ca_file else None
        )
        self._writes = WriteService(self._client.api_client)

    def write(self, points: PointBatch, *, until: float = math.inf) -> list[RejectedPoints]:
        """See `ReadingsStore.write`.

        InfluxDB does not say which points of a request it rejects. Therefore the halves of a rejected range are sent
        again, down to single points.
        """
        lines = LineProtocol(points)
        rejected: list[RejectedPoints] = []
        # a stack, so that the halves of a range are sent next
        ranges = [(start, min(start + BATCH_POINTS, len(points))) for start in range(0, len(points), BATCH_POINTS)][
            ::-1
        ]
        while ranges:
            start, stop = ranges.pop()
            try:
                status = self._post(lines.text(start, stop), until)
            except ApiException as error:
                if error.status not in _REJECTED:
                    raise self._store_error(error) from None
                if stop - start > 1 and not _rejects_all(error, stop - start):
                    middle = (start + stop) // 2
                    ranges += [(middle, stop), (start, middle)]
                else:
                    reason = f"{self._where} answered HTTP {error.status}: {self._reason(error)}"
                    rejected.append(RejectedPoints(points[start:stop], reason))
                continue
            if status != _NO_CONTENT:
                raise StoreError(
                    f"{self._where} answered HTTP {status}, with which InfluxDB does not acknowledge points: "
                    "is INFLUXDB_URL the address of another server?"
                )
        return rejected

    def ping(self) -> None:
        """See `ReadingsStore.ping`. Sends an empty batch, because this also checks token and bucket."""
        try:
            self._post("", math.inf)
        except ApiException as error:
            # 2.x answers "writing requires points" if the token and the bucket are valid
            if error.status != _BAD_REQUEST:
                raise self._store_error(error) from None

    def close(self) -> None:
        """See `ReadingsStore.close`."""
        self._client.close()

    def _post(self, lines: str, until: float) -> int:
        """Send line protocol; return the HTTP status, which is a success.

        Raises:
            ApiException: an HTTP status that is not a success.
            StoreError: no answer, or no time left.
        """
        timeout_s = min(self._timeout_s, until - time.monotonic())
        if timeout_s <= 0:
            raise StoreError(f"{self._where} has not accepted all points in the available time")
        try:
            _, status, _ = self._writes.post_write_with_http_info(
                org=self._org,
                bucket=self._bucket,
                body=gzip.compress(lines.encode(), _GZIP_LEVEL),
                precision=WritePrecision.MS,
                content_encoding="gzip",
                content_type="text/plain; charset=utf-8",
                _return_http_data_only=False,
                _request_timeout=timeout_s * 1000,
            )
        except _NO_ANSWER as error:
            raise StoreError(self._unreachable(error)) from None
        return int(status)

    def _store_error(self, error: ApiException) -> StoreError:
        kind = StoreAccessError if error.status in _NO_ACCESS else StoreError
        return kind(self._explain(error), _retry_after_s(error))

    def _explain(self, error: ApiException) -> str:
        if not error.status:  # how influxdb_client reports a TLS error
            return self._unreachable(error.reason)
        reason = self._reason(error)
        advice = _ADVICE.get(error.status) or (_advice_by(reason) if error.status == _SERVER_ERROR else "")
        return f"{self._where} answered HTTP {error.status}: {reason}" + (f"; {advice}" if advice else "")

    def _reason(self, error: ApiException) -> str:
        """Return the message in the body (`error` in 1.x, `message` in 2.x), or else the status line."""
        try:
            body = json.loads(error.body or "")
            reason = body.get("message") or body.get("error")
        except (ValueError, AttributeError):
            reason = None
        return self._redacted(reason or error.reason or "no reason given")

    def _unreachable(self, error: object) -> str:
        return f"{self._where} does not answer: {self._redacted(error)}; is InfluxDB running at INFLUXDB_URL?"

    def _redacted(self, text: object) -> str:
        shown = hide_url(str(text), self._url)
        return one_line(shown.replace(self._token, "***") if self._token else shown)


def _rejects_all(error: ApiException, points: int) -> bool:
    dropped = _DROPPED.search(str(error.body or ""))
    return dropped is not None and int(dropped[1]) == points


def _advice_by(reason: str) -> str:
    if _DISK_FULL.search(reason):
        return _ADVICE_DISK
    return _ADVICE_POLICY if "retention policy" in reason else "InfluxDB's log says more"


def require_access(url: str, token: str, org: str, bucket: str, ca_file: Path | None = None) -> None:
    """Check that InfluxDB lets `token` write to the bucket. Nothing is written.

    Raises:
        StoreError: InfluxDB does not answer, or refuses the token or the bucket.
    """
    store = InfluxReadingsStore(url, token, org, bucket, ca_file=ca_file)
    try:
        store.ping()
    finally:
        store.close()


def _retry_after_s(error: ApiException) -> float:
    """Return the header Retry-After of a proxy or InfluxDB Cloud, if it is in seconds; dates are ignored."""
    asked = str(error.headers.get("Retry-After", "")) if error.headers else ""
    return float(asked) if asked.isdecimal() else 0.0


def _require_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigurationError("INFLUXDB_URL is not of the form http://host:port")
