"""InfluxDB's HTTP API for InfluxQL queries, writes and deletes, of versions 1.8 and 2.x."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import urllib3

from emm_pipeline.credentials import hide_credentials, hide_url
from emm_pipeline.errors import StoreAccessError, StoreError
from emm_pipeline.stores.influxdb.certificates import require_ca_file
from emm_pipeline.stores.texts import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_TIMEOUT = urllib3.Timeout(connect=10.0, read=120.0)
_CHUNK_ROWS = 20_000
_SUCCESS = range(200, 300)
_NOT_FOUND = 404
_NO_ACCESS = frozenset({401, 403})


class InfluxClient:
    """Sends requests to one database, which in 2.x is a bucket.

    Args:
        url: INFLUXDB_URL.
        read_token: A token that may read the bucket; for 1.8 `user:password`. No error contains it.
        write_token: One that may write it.
        org: INFLUXDB_ORG.
        bucket: INFLUXDB_BUCKET; for 1.8 `database/retention policy`.
        ca_file: INFLUXDB_CA_FILE.
    """

    def __init__(  # noqa: PLR0913  # what one connection needs
        self, url: str, read_token: str, write_token: str, org: str, bucket: str, *, ca_file: Path | None = None
    ) -> None:
        require_ca_file(ca_file)
        self._url = url.rstrip("/")
        self.where = f"InfluxDB at {hide_credentials(self._url)}"
        self._read_token = read_token
        self._write_token = write_token
        self._org = org
        self._bucket = bucket
        database, slash, policy = bucket.partition("/")
        self._database = {"db": database, **({"rp": policy} if slash else {})}
        self._http = urllib3.PoolManager(timeout=_TIMEOUT, retries=False, ca_certs=str(ca_file) if ca_file else None)

    def series(self, query: str) -> Iterator[dict[str, Any]]:
        """Yield the series of an InfluxQL query; a long one comes in parts. Times are in milliseconds.

        Each has `name`, `tags`, `columns` and `values`.
        """
        fields = self._database | {"q": query, "epoch": "ms", "chunked": "true", "chunk_size": str(_CHUNK_ROWS)}
        answer = self._request("GET", "/query", self._read_token, fields, stream=True)
        try:
            for line in _lines(answer):
                for result in json.loads(line).get("results", []):
                    if "error" in result:
                        raise StoreError(f"{self.where} cannot answer a query: {self._redacted(result['error'])}")
                    yield from result.get("series", [])
        except (urllib3.exceptions.HTTPError, ValueError) as err:
            raise StoreError(f"{self.where} broke off its answer: {self._redacted(err)}") from None
        finally:
            answer.release_conn()

    def write(self, lines: str) -> None:
        """Write line protocol with times in milliseconds."""
        fields = {"org": self._org, "bucket": self._bucket, "precision": "ms"}
        body = gzip.compress(lines.encode(), 1)
        self._request("POST", "/api/v2/write", self._write_token, fields, body, {"Content-Encoding": "gzip"})

    def delete(self, measurement: str, condition: str, begin: int, end: int) -> None:
        """Delete points of a measurement from `begin` until before `end` (milliseconds since 1970).

        Args:
            measurement: Its name.
            condition: A tag and its value, as `period="hour"`; an empty text for all points.
            begin: Beginning of the time.
            end: End of the time.
        """
        quoted = measurement.replace("\\", "\\\\").replace('"', '\\"')
        predicate = f'_measurement="{quoted}"' + (f" AND {condition}" if condition else "")
        body = json.dumps({"start": _iso(begin), "stop": _iso(end), "predicate": predicate}).encode()
        fields = {"org": self._org, "bucket": self._bucket}
        kind = {"Content-Type": "application/json"}
        if self._request("POST", "/api/v2/delete", self._write_token, fields, body, kind, allowed=_NOT_FOUND) is None:
            tag, _, value = condition.partition("=")
            where = f" AND \"{tag}\" = '{value[1:-1]}'" if condition else ""
            query = f'DELETE FROM "{quoted}" WHERE time >= {begin}ms AND time < {end}ms{where}'  # noqa: S608 - InfluxQL
            answer = self._request("POST", "/query", self._write_token, {"db": self._database["db"], "q": query})
            if answer and (error := json.loads(answer.data)["results"][0].get("error")):
                raise StoreError(f"{self.where} cannot delete points: {self._redacted(error)}")

    def close(self) -> None:
        """Close the connections."""
        self._http.clear()

    def _request(  # noqa: PLR0913, PLR0917 - the parts of a request
        self,
        method: str,
        path: str,
        token: str,
        fields: dict[str, str],
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        *,
        allowed: int | None = None,
        stream: bool = False,
    ) -> Any:
        """Return the answer, or None if its status is `allowed`."""
        headers = _authorization(token) | (headers or {})
        url = f"{self._url}{path}?{urlencode(fields)}"
        try:
            answer = self._http.request(method, url, body=body, headers=headers, preload_content=not stream)
            status = answer.status
            data = b"" if status in _SUCCESS and stream else answer.data
        except (urllib3.exceptions.HTTPError, UnicodeError) as err:
            reason = self._redacted(err)
            raise StoreError(f"{self.where} does not answer: {reason}; is InfluxDB running at INFLUXDB_URL?") from None
        if status == allowed:
            return None
        if status in _SUCCESS:
            return answer
        kind = StoreAccessError if status in _NO_ACCESS else StoreError
        what = "INFLUXDB_READ_TOKEN" if token == self._read_token else "INFLUXDB_TOKEN"
        advice = (
            f"; check {what}: it has to read the bucket, or set INFLUXDB_READ_TOKEN to one that may"
            if status in _NO_ACCESS and path == "/query"
            else ""
        )
        raise kind(f"{self.where} answered HTTP {status} to {method} {path}: {self._reason(data)}{advice}")

    def _reason(self, body: bytes) -> str:
        try:
            content = json.loads(body)
            reason = content.get("message") or content.get("error")
        except (ValueError, AttributeError):
            reason = None
        return self._redacted(reason or "no reason given")

    def _redacted(self, text: object) -> str:
        shown = hide_url(str(text), self._url)
        for token in filter(None, (self._read_token, self._write_token)):
            shown = shown.replace(token, "***")
        return one_line(shown)


def _authorization(token: str) -> dict[str, str]:
    """Return the header: a user and password, which only 1.x has, or a token."""
    if ":" in token:
        return urllib3.make_headers(basic_auth=token)
    return {"Authorization": f"Token {token}"} if token else {}


def _iso(time: int) -> str:
    return datetime.fromtimestamp(time / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _lines(answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """Yield the lines of an answer as they come."""
    rest = b""
    for part in answer.stream(1 << 20):
        *lines, rest = (rest + part).split(b"\n")
        yield from filter(None, lines)
    if rest:
        yield rest
