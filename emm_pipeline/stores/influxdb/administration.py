"""Change the token and the password of InfluxDB's administrator in the server: 2.x by its API, 1.x by InfluxQL."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import urllib3

from emm_pipeline.errors import ConfigurationError, StoreError
from emm_pipeline.stores.influxdb.certificates import require_ca_file

if TYPE_CHECKING:
    from pathlib import Path

_TIMEOUT_S = 10.0
_NOT_FOUND = 404
_UNAUTHORIZED = frozenset({401, 403})
_SUCCESS = range(200, 300)
ADMIN_DESCRIPTION = "EMM stack: administrator"


@dataclass(frozen=True, slots=True)
class AdminToken:
    """A token that can create and revoke others; `id` is its id in InfluxDB."""

    text: str
    id: str


class InfluxAdministration:
    """Operations that only an administrator can perform. No error contains a credential.

    Args:
        url: INFLUXDB_URL.
        ca_file: INFLUXDB_CA_FILE.
    """

    def __init__(self, url: str, ca_file: Path | None = None) -> None:
        require_ca_file(ca_file)
        self._url = url.rstrip("/")
        self._http = urllib3.PoolManager(timeout=_TIMEOUT_S, retries=False, ca_certs=str(ca_file) if ca_file else None)

    def is_version_1(self) -> bool:
        """Whether the server has users and no tokens.

        Raises:
            StoreError: the server does not answer.
        """
        return self._request("GET", "/api/v2/authorizations", {}).status == _NOT_FOUND

    def accepts_token(self, token: str) -> bool:
        """Whether a 2.x server allows this token to list the others."""
        return self._request("GET", "/api/v2/authorizations", _token(token)).status in _SUCCESS

    def make_token(self, token: str) -> AdminToken:
        """Create another token with the rights of `token`, which is an administrator's."""
        listed = json.loads(self._ask("GET", "/api/v2/authorizations", _token(token)))["authorizations"]
        same = [one for one in listed if one.get("token") == token]
        # A server that stores only digests does not return the text of tokens: the administrator's has the most rights.
        own = same[0] if same else max(listed, key=lambda one: len(one["permissions"]))
        body = {"orgID": own["orgID"], "description": ADMIN_DESCRIPTION, "permissions": own["permissions"]}
        if own.get("userID"):
            body["userID"] = own["userID"]
        made = json.loads(self._ask("POST", "/api/v2/authorizations", _token(token), body))
        return AdminToken(str(made["token"]), str(made["id"]))

    def revoke(self, token: str, *, using: str, known_id: str | None = None) -> bool:
        """Revoke a token, identified by its id or its text; return False if the server cannot identify it."""
        listed = json.loads(self._ask("GET", "/api/v2/authorizations", _token(using)))["authorizations"]
        ids = [str(one["id"]) for one in listed if one.get("token") == token] or ([known_id] if known_id else [])
        for id_ in ids:
            self._ask("DELETE", f"/api/v2/authorizations/{id_}", _token(using))
        return bool(ids)

    def accepts_password(self, user: str, password: str, *, version_1: bool) -> bool:
        """Whether the user can log in with this password."""
        headers = urllib3.make_headers(basic_auth=f"{user}:{password}", basic_auth_encoding="utf-8")
        if version_1:
            answer = self._request("POST", "/query", headers, fields={"q": "SHOW DATABASES"})
        else:
            answer = self._request("POST", "/api/v2/signin", headers)
        return answer.status in _SUCCESS

    def set_password(self, user: str, password: str, *, token: str) -> None:
        """Set a user's password in a 2.x server."""
        found = json.loads(self._ask("GET", "/api/v2/users", _token(token), fields={"name": user})).get("users", [])
        if not found:
            raise ConfigurationError(f"InfluxDB at {self._url} has no user DOCKER_INFLUXDB_INIT_USERNAME={user}")
        self._ask("POST", f"/api/v2/users/{found[0]['id']}/password", _token(token), {"password": password})

    def set_password_1(self, user: str, old: str, new: str) -> None:
        """Set the user's own password in a 1.x server; the user must be an administrator."""
        name, text = user.replace('"', '\\"'), new.replace("\\", "\\\\").replace("'", "\\'")
        headers = urllib3.make_headers(basic_auth=f"{user}:{old}", basic_auth_encoding="utf-8")
        answer = self._ask("POST", "/query", headers, fields={"q": f"SET PASSWORD FOR \"{name}\" = '{text}'"})
        (result,) = json.loads(answer)["results"]
        if "error" in result:
            raise StoreError(f"InfluxDB at {self._url} does not change the password of user {user}: {result['error']}")

    def _ask(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        body: dict[str, object] | None = None,
        fields: dict[str, str] | None = None,
    ) -> bytes:
        answer = self._request(method, path, headers, body, fields)
        if answer.status not in _SUCCESS:
            raise StoreError(f"InfluxDB at {self._url} answered HTTP {answer.status} to {method} {path}")
        return answer.data

    def _request(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        body: dict[str, object] | None = None,
        fields: dict[str, str] | None = None,
    ) -> urllib3.BaseHTTPResponse:
        try:
            if fields and method == "POST":
                return self._http.request_encode_body(
                    method, self._url + path, fields, headers=headers, encode_multipart=False
                )
            return self._http.request(method, self._url + path, headers=headers, json=body, fields=fields)
        except urllib3.exceptions.HTTPError as err:
            raise StoreError(f"InfluxDB at {self._url} does not answer: {err}; is it running at INFLUXDB_URL?") from err


def _token(token: str) -> dict[str, str]:
    return {"Authorization": f"Token {token}"}
