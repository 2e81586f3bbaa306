"""A simulated InfluxDB 2.x: a small server with its API for administrators, which answers as 2.7.12 and 2.9.1 do.

InfluxDB 2.x cannot be installed from the package registries. The simulation behaves as the real versions did in trials:
tokens belong to a bucket by its id, administrators can list the texts of tokens (2.9 can store only digests:
`tells_tokens`), an unknown token gives 401, and a user logs in at /api/v2/signin.
"""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

ADMIN = "the-admin-token"
ORG_ID, BUCKET_ID = "0a0a", "0b0b"
ORGS = [{"id": ORG_ID, "name": "emm"}]
DENIED = 401, {"code": "unauthorized"}
ALL_RIGHTS = [
    {"action": action, "resource": {"type": kind}} for action in ("read", "write") for kind in ("orgs", "buckets")
]


class InfluxAPI:
    """Organizations, buckets, authorizations, mappings and users, and their permissions.

    Attributes:
        authorizations: tokens by their id.
        bucket: the name of the only bucket.
        bucket_id: its id, which changes if the bucket is deleted and created again.
        password: of the user `emm`.
        tells_tokens: whether the list of tokens shows their texts.
        written: the tokens with which points were accepted.
    """

    def __init__(self, admin: str = ADMIN, password: str = "") -> None:
        self.authorizations: dict[str, dict] = {}
        self.mappings: list[dict] = []
        self.bucket, self.bucket_id = "emm", BUCKET_ID
        self.password = password
        self.tells_tokens = True
        self.written: list[str] = []
        self._made = 0
        self._administrator = {"id": "id0", "token": admin, "orgID": ORG_ID, "userID": "u1", "permissions": ALL_RIGHTS}
        self.administrators: dict[str, dict] = {"id0": {**self._administrator, "description": "emm's Token"}}
        api = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                """Keep quiet."""

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                parts = urlsplit(self.path)
                query = {key: values[0] for key, values in parse_qs(parts.query).items()}
                scheme, _, token = self.headers.get("Authorization", "").partition(" ")
                request = f"{self.command} {parts.path}"
                if request == "POST /api/v2/signin":
                    given = base64.b64decode(token).decode() if scheme == "Basic" else ""
                    status, content = (204, None) if given == f"emm:{api.password}" else DENIED
                elif request == "POST /api/v2/write":
                    status, content = (204, None) if api.may(token, "write") else DENIED
                    if body and status == 204:
                        api.written.append(token)
                else:
                    status, content = api.handle(request, token, query, json.loads(body or "null"))
                reply = json.dumps(content).encode() if content is not None else b""
                self.send_response(status)
                self.send_header("Content-Length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            do_GET = do_POST = do_DELETE = answer  # noqa: N815  # the names that http.server looks for

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def may(self, token: str, action: str) -> bool:
        resource = {"type": "buckets", "id": self.bucket_id, "orgID": ORG_ID}
        return any(
            one["token"] == token and one["permissions"] == [{"action": action, "resource": resource}]
            for one in self.authorizations.values()
        )

    def is_admin(self, token: str) -> bool:
        return any(one["token"] == token for one in self.administrators.values())

    def tokens(self) -> set[str]:
        """Return the texts of all valid tokens."""
        return {one["token"] for one in (self.authorizations | self.administrators).values()}

    def handle(self, request: str, token: str, query: dict, body: dict | None) -> tuple[int, dict | None]:
        answers = {"GET /query": lambda: (200, {"results": []}) if self.may(token, "read") else DENIED}
        if self.is_admin(token):
            buckets = [{"id": self.bucket_id, "name": self.bucket}]
            answers |= {
                "GET /api/v2/orgs": lambda: (200, {"orgs": ORGS}) if query["org"] == "emm" else (404, {}),
                "GET /api/v2/buckets": lambda: (200, {"buckets": buckets if query["name"] == self.bucket else []}),
                f"GET /api/v2/buckets/{self.bucket_id}": lambda: (200, buckets[0]),
                "GET /api/v2/dbrps": lambda: self.mapped(query["db"]),
                "POST /api/v2/dbrps": lambda: self.map(body or {}),
                "GET /api/v2/users": lambda: (200, {"users": [{"id": "u1", "name": "emm"}]}),
                "POST /api/v2/users/u1/password": lambda: (204, self.set_password(body or {})),
                "GET /api/v2/authorizations": lambda: (200, {"authorizations": self.listed()}),
                "POST /api/v2/authorizations": lambda: (201, self.authorize(body or {})),
            }
            for id_ in [*self.authorizations, *self.administrators]:
                answers[f"DELETE /api/v2/authorizations/{id_}"] = lambda id_=id_: (204, self.withdraw(id_))
            for mapping in self.mappings:
                answers[f"DELETE /api/v2/dbrps/{mapping['id']}"] = lambda one=mapping: (204, self.mappings.remove(one))
            if request not in answers and request.startswith(("DELETE ", "GET /api/v2/buckets/")):
                return 404, {"code": "not found"}
        return answers.get(request, lambda: DENIED)()

    def mapped(self, database: str) -> tuple[int, dict]:
        if "/" in database:
            return 400, {"code": "invalid", "message": "database name cannot contain slashes"}
        return 200, {"content": [one for one in self.mappings if one["database"] == database]}

    def map(self, mapping: dict) -> tuple[int, dict]:
        if "/" in mapping["database"]:
            return 400, {"code": "invalid", "message": "database name cannot contain slashes"}
        self.mappings.append({"id": f"m{len(self.mappings)}", **mapping})
        return 201, self.mappings[-1]

    def listed(self) -> list[dict]:
        everything = [*self.administrators.values(), *self.authorizations.values()]
        return [one if self.tells_tokens else {**one, "token": "redacted"} for one in everything]

    def set_password(self, body: dict) -> None:
        self.password = body["password"]

    def withdraw(self, id_: str) -> None:
        self.authorizations.pop(id_, None)
        self.administrators.pop(id_, None)

    def authorize(self, asked: dict) -> dict:
        self._made += 1
        made = {**asked, "id": f"id{self._made}", "token": f"token{self._made}"}
        kind = self.administrators if asked["permissions"] == ALL_RIGHTS else self.authorizations
        return kind.setdefault(made["id"], made)


@pytest.fixture
def influxdb_2() -> Iterator[InfluxAPI]:
    """A new simulated InfluxDB 2.x."""
    api = InfluxAPI()
    thread = threading.Thread(target=api.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield api
    api.server.shutdown()
    thread.join()
    api.server.server_close()
