"""Set up the stack's InfluxDB 2.x: create a token to write and one to read, and a 1.x database name for the bucket.

InfluxDB 1.x has neither tokens nor this API; there all services use the same credential.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import urllib3

from emm_pipeline.credentials import hide_credentials, hide_url
from emm_pipeline.errors import ConfigurationError, StoreError
from emm_pipeline.stores.influxdb.certificates import require_ca_file
from emm_pipeline.stores.texts import one_line

if TYPE_CHECKING:
    from pathlib import Path

WRITE_DESCRIPTION = "EMM pipeline: may only write its bucket"
READ_DESCRIPTION = "Grafana: may only read EMM's bucket"
_TIMEOUT_S = 10.0
_NOT_FOUND = 404
_UNAUTHORIZED = frozenset({401, 403})
_SUCCESS = range(200, 300)


@dataclass(frozen=True, slots=True)
class Tokens:
    """The pipeline's token to write and Grafana's token to read; `ids` are their InfluxDB ids if EMM created them."""

    write: str
    read: str
    ids: tuple[str, ...] = ()


class InfluxSetup:
    """InfluxDB's administration, for one organization and bucket.

    Args:
        url: INFLUXDB_URL.
        admin_token: a token that can create tokens. No error contains it.
        org: name of the organization.
        bucket: name of the bucket.
        ca_file: INFLUXDB_CA_FILE.
    """

    def __init__(self, url: str, admin_token: str, org: str, bucket: str, ca_file: Path | None = None) -> None:
        require_ca_file(ca_file)
        self._url = url.rstrip("/")
        self._where = f"InfluxDB at {hide_credentials(self._url)}"
        self._admin_token = admin_token
        self._org = org
        self._bucket = bucket
        self._database, _, self._policy = bucket.partition("/")
        self._http = urllib3.PoolManager(timeout=_TIMEOUT_S, retries=False, ca_certs=str(ca_file) if ca_file else None)

    def has_tokens(self) -> bool:
        """Whether this InfluxDB has tokens (2.x), or only users (1.x).

        Raises:
            StoreError: InfluxDB does not answer, or does not accept the admin token.
        """
        return self._ask("GET", "/api/v2/authorizations", allowed=(_NOT_FOUND,)) is not None

    def ensure_tokens(self, existing: Tokens | None) -> Tokens:
        """Return `existing` if InfluxDB still accepts both, or else create new ones (`withdraw` revokes the old ones).

        Raises:
            ConfigurationError: the organization or the bucket does not exist.
            StoreError: InfluxDB does not answer, or rejects a request.
        """
        if existing and self._may_write(existing.write) and self._may_read(existing.read):
            return existing
        return self.make_tokens()

    def make_tokens(self) -> Tokens:
        """Create a token that can only write the bucket and one that can only read it; errors as in `ensure_tokens`."""
        org_id = self._id_of("orgs", self._org)
        bucket_id = self._id_of("buckets", self._bucket, org=self._org)
        write = self._make_token(WRITE_DESCRIPTION, "write", org_id, bucket_id)
        read = self._make_token(READ_DESCRIPTION, "read", org_id, bucket_id)
        return Tokens(str(write["token"]), str(read["token"]), (str(write["id"]), str(read["id"])))

    def withdraw(self, tokens: Tokens) -> None:
        """Revoke exactly these tokens; those of another installation may have the same description.

        Tokens of an older version, whose ids are not known, are found by their text if InfluxDB returns it.
        """
        found = set(tokens.ids)
        if not found:
            listed = self._get("/api/v2/authorizations").get("authorizations", [])
            ours = [one for one in listed if one.get("description") in {WRITE_DESCRIPTION, READ_DESCRIPTION}]
            found = {str(one["id"]) for one in ours if one.get("token") in {tokens.write, tokens.read}}
        for id_ in sorted(found):
            self._ask("DELETE", f"/api/v2/authorizations/{id_}", allowed=(_NOT_FOUND,))

    def ensure_database(self) -> str:
        """Map a 1.x database to the bucket, for InfluxQL; return a message for people, empty if nothing changed.

        The database has the name of the bucket. A bucket `db/rp`, as an upgrade from 1.8 creates it, is the retention
        policy `rp` of the database `db`. A mapping to another bucket is not changed, but reported.
        """
        org_id, bucket_id = self._id_of("orgs", self._org), self._id_of("buckets", self._bucket, org=self._org)
        found = self._get("/api/v2/dbrps", orgID=org_id, db=self._database).get("content") or []
        default = next((each for each in found if each["database"] == self._database and each.get("default")), None)
        if default and default["bucketID"] == bucket_id:
            return ""
        if default and self._ask("GET", f"/api/v2/buckets/{default['bucketID']}", allowed=(_NOT_FOUND,)) is not None:
            return (
                f"WARNING: the database {self._database!r}, from which Grafana reads, is another bucket than "
                f"INFLUXDB_BUCKET={self._bucket}: change the mapping {default['id']} (influx v1 dbrp list)"
            )
        if default:  # its bucket was deleted
            self._ask("DELETE", f"/api/v2/dbrps/{default['id']}", allowed=(_NOT_FOUND,), fields={"orgID": org_id})
        mapping = {
            "orgID": org_id,
            "bucketID": bucket_id,
            "database": self._database,
            "retention_policy": self._policy or "autogen",
            "default": True,
        }
        self._ask("POST", "/api/v2/dbrps", body=mapping)
        return f"bucket {self._bucket} can be queried with InfluxQL"

    def _id_of(self, kind: str, name: str, **filters: str) -> str:
        key = {"orgs": "org", "buckets": "name"}[kind]
        found = self._ask("GET", f"/api/v2/{kind}", allowed=(_NOT_FOUND,), fields={key: name, **filters}) or {}
        for one in found.get(kind, []):
            if one["name"] == name:
                return str(one["id"])
        variable = {"orgs": "INFLUXDB_ORG", "buckets": "INFLUXDB_BUCKET"}[kind]
        raise ConfigurationError(f"{self._where} has no {variable} named {name!r}")

    def _make_token(self, description: str, action: str, org_id: str, bucket_id: str) -> dict[str, Any]:
        resource = {"type": "buckets", "id": bucket_id, "orgID": org_id}
        body = {
            "orgID": org_id,
            "description": description,
            "permissions": [{"action": action, "resource": resource}],
        }
        return self._ask("POST", "/api/v2/authorizations", body=body) or {}

    def _may_write(self, token: str) -> bool:
        # An empty batch writes nothing, and InfluxDB checks the token first.
        fields = {"org": self._org, "bucket": self._bucket}
        return self._status("POST", "/api/v2/write", token, fields) not in _UNAUTHORIZED

    def _may_read(self, token: str) -> bool:
        fields = {"db": self._database, "q": "SHOW MEASUREMENTS LIMIT 1"}
        return self._status("GET", "/query", token, fields) not in _UNAUTHORIZED

    def _status(self, method: str, path: str, token: str, fields: dict[str, str]) -> int:
        return self._request(method, path, token, fields).status

    def _get(self, path: str, **fields: str) -> dict[str, Any]:
        return self._ask("GET", path, fields=fields) or {}

    def _ask(
        self,
        method: str,
        path: str,
        *,
        allowed: tuple[int, ...] = (),
        fields: dict[str, str] | None = None,
        body: dict[str, Any] | None = None,
    ) -> dict[str, Any] | None:
        """Return the answer's JSON, or None if its status is not a success but is in `allowed`."""
        answer = self._request(method, path, self._admin_token, fields, body)
        if answer.status in allowed:
            return None
        if answer.status not in _SUCCESS:
            advice = "; check DOCKER_INFLUXDB_INIT_ADMIN_TOKEN" if answer.status in _UNAUTHORIZED else ""
            reason = self._reason(answer.data)
            raise StoreError(f"{self._where} answered HTTP {answer.status} to {method} {path}{reason}{advice}")
        if not answer.data:
            return {}
        try:
            content: dict[str, Any] = json.loads(answer.data)
        except ValueError:
            raise StoreError(f"{self._where} is not an InfluxDB: its answer to {method} {path} is not JSON") from None
        return content

    def _reason(self, body: bytes) -> str:
        """Return the message in the body of an error as `: reason`, or an empty text if there is none."""
        try:
            content = json.loads(body)
            reason = content.get("message") or content.get("error") or ""
        except (ValueError, AttributeError):
            reason = ""
        return f": {one_line(str(reason).replace(self._admin_token, '***'))}" if reason else ""

    def _request(
        self,
        method: str,
        path: str,
        token: str,
        fields: dict[str, str] | None = None,
        body: dict[str, Any] | None = None,
    ) -> urllib3.BaseHTTPResponse:
        headers = {"Authorization": f"Token {token}"}
        query = "?" + urlencode(fields) if fields else ""
        try:
            return self._http.request(method, f"{self._url}{path}{query}", headers=headers, json=body)
        except urllib3.exceptions.HTTPError as err:
            reason = hide_url(str(err), self._url)
            raise StoreError(f"{self._where} does not answer: {reason}; is it running at INFLUXDB_URL?") from None
