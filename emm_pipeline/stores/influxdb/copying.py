"""Read all points of a bucket as line protocol, and write them again: InfluxDB 1.8 and 2.x by the same APIs.

    voltageL1,dataunit=V,description=mains,id=1 value=230.5 1772366400000000000

Reading uses InfluxQL, writing the write API of 2.x, so that points of 1.8 can be written to 2.x and the reverse.
"""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from itertools import islice
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlencode

import urllib3

from emm_pipeline.credentials import hide_credentials, hide_url
from emm_pipeline.errors import StoreError
from emm_pipeline.stores.influxdb.certificates import require_ca_file
from emm_pipeline.stores.influxdb.line_protocol import escaped_measurement, escaped_tag, escaped_text
from emm_pipeline.stores.texts import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_CHUNK_ROWS = 10_000
_WRITE_LINES = 5_000
_TIMEOUT = urllib3.Timeout(connect=10.0, read=300.0)
_SUCCESS = range(200, 300)
_NUMBER = "float"


class InfluxCopy:
    """All points of one bucket.

    Args:
        url: INFLUXDB_URL.
        token: a token that may read the bucket, or write it for `restore`. No error contains it.
        org: INFLUXDB_ORG.
        bucket: INFLUXDB_BUCKET.
        ca_file: INFLUXDB_CA_FILE.
    """

    def __init__(self, url: str, token: str, org: str, bucket: str, ca_file: Path | None = None) -> None:
        require_ca_file(ca_file)
        self._url = url.rstrip("/")
        self._where = f"InfluxDB at {hide_credentials(self._url)}"
        self._headers = {"Authorization": f"Token {token}"}
        self._token = token
        self._org, self._bucket = org, bucket
        self._database, _, self._policy = bucket.partition("/")
        self._http = urllib3.PoolManager(timeout=_TIMEOUT, retries=False, ca_certs=str(ca_file) if ca_file else None)

    def save(self, stream: IO[bytes]) -> int:
        """Write a line for each point; return their number.

        Raises:
            StoreError: InfluxDB does not answer, or rejects a query.
        """
        points = 0
        for name in self._column("SHOW MEASUREMENTS", 0):
            source = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
            types: dict[str, set[str]] = defaultdict(set)
            for series in self._ask(f"SHOW FIELD KEYS FROM {source}"):
                for field, kind in series["values"]:
                    types[field].add(kind)
            for series in self._ask(f"SELECT * FROM {source} GROUP BY *"):  # noqa: S608  # quoted above
                lines = list(_lines(series, types))
                stream.write("".join(lines).encode())
                points += len(lines)
        return points

    def restore(self, stream: IO[bytes]) -> int:
        """Write all lines to the bucket; return their number. Points that exist get the value of the line.

        Raises:
            StoreError: InfluxDB does not answer, or rejects lines.
        """
        points = 0
        query = urlencode({"org": self._org, "bucket": self._bucket, "precision": "ns"})
        headers = self._headers | {"Content-Encoding": "gzip", "Content-Type": "text/plain; charset=utf-8"}
        while lines := list(islice(stream, _WRITE_LINES)):
            body = gzip.compress(b"".join(lines), 1)
            answer = self._request("POST", f"/api/v2/write?{query}", headers, body)
            if answer.status not in _SUCCESS:
                raise self._refused(answer.status, answer.read())
            answer.read()
            points += len(lines)
        return points

    def _column(self, query: str, number: int) -> list[str]:
        return [row[number] for series in self._ask(query) for row in series["values"]]

    def _ask(self, query: str) -> Iterator[dict[str, Any]]:
        """Yield the series of a result, a series with many rows in parts; times are in nanoseconds."""
        fields = {"db": self._database, "q": query, "epoch": "ns", "chunked": "true", "chunk_size": str(_CHUNK_ROWS)}
        if self._policy:
            fields["rp"] = self._policy
        answer = self._request("GET", f"/query?{urlencode(fields)}", self._headers)
        if answer.status not in _SUCCESS:
            raise self._refused(answer.status, answer.read())
        try:
            for line in _lines_of(answer):
                for result in json.loads(line)["results"]:
                    if "error" in result:
                        raise StoreError(f"{self._where} rejects {query!r}: {result['error']}")
                    yield from result.get("series", [])
        except (urllib3.exceptions.HTTPError, ValueError) as err:
            raise StoreError(f"{self._where} ended its answer to {query!r} too early: {err}") from None

    def _request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> urllib3.BaseHTTPResponse:
        try:
            return self._http.request(method, self._url + path, headers=headers, body=body, preload_content=False)
        except urllib3.exceptions.HTTPError as err:
            reason = hide_url(str(err), self._url)
            raise StoreError(f"{self._where} does not answer: {reason}; is it running at INFLUXDB_URL?") from None

    def _refused(self, status: int, body: bytes) -> StoreError:
        reason = one_line(body.decode(errors="replace").replace(self._token, "***"))
        return StoreError(f"{self._where} answered HTTP {status}: {reason}")


def _lines(series: Mapping[str, Any], types: Mapping[str, set[str]]) -> Iterator[str]:
    given = series.get("tags", {}).items()
    tags = "".join(f",{escaped_tag(key)}={escaped_tag(value)}" for key, value in given if value)
    head = f"{escaped_measurement(series['name'])}{tags} "
    names = [(escaped_tag(name), types.get(name, {_NUMBER}) == {"integer"}) for name in series["columns"][1:]]
    for time, *values in series["values"]:
        fields = ",".join(
            f"{name}={_field(value, is_integer=is_integer)}"
            for (name, is_integer), value in zip(names, values, strict=True)
            if value is not None
        )
        if fields:
            yield f"{head}{fields} {time}\n"


def _field(value: object, *, is_integer: bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{escaped_text(value)}"'
    if is_integer:
        return f"{value}i"
    return repr(float(value))  # type: ignore[arg-type]  # a number of JSON


def _lines_of(answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """Yield the lines of a streamed answer."""
    rest = b""
    for block in answer.stream(1 << 16):
        *complete, rest = (rest + block).split(b"\n")
        yield from filter(None, complete)
    if rest.strip():
        yield rest
