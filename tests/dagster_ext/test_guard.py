"""The guard before Dagster's webserver: what foreign web pages and strangers ask for does not reach Dagster."""

import asyncio
import base64

import pytest

from emm_pipeline.dagster_ext.failed_logins import ALLOWED, WITHIN_S, FailedLogins
from emm_pipeline.dagster_ext.guard import Guard

LOGIN = ("anna", "pass:wörd")
STOP = b"query=mutation{stopRunningSchedule(id:1){__typename}}"


def basic(user: str, password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


class Dagster:
    """An application that notes which requests reach it, and answers like one that lets every origin read."""

    def __init__(self) -> None:
        self.reached: list[str] = []

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "websocket":
            self.reached.append("websocket")
            await send({"type": "websocket.accept"})
            return
        self.reached.append(f"{scope['method']} {scope['path']}")
        await send({"type": "http.response.start", "status": 200, "headers": [(b"access-control-allow-origin", b"*")]})
        await send({"type": "http.response.body", "body": b"secret"})


class Client:
    """Asks a guard as a browser or a program does; the reply is status, headers and body."""

    def __init__(self, guard: Guard, dagster: Dagster) -> None:
        self.guard, self.dagster = guard, dagster

    def ask(
        self,
        method: str = "GET",
        path: str = "/runs",
        query: bytes = b"",
        *,
        host: str = "127.0.0.1:3001",
        client: str = "10.0.0.9",
        **headers: str,
    ) -> tuple[int, dict[str, str], str]:
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query,
            "client": (client, 40000),
            "headers": self._headers(host, headers),
        }
        sent = self._run(scope)
        reply = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], reply, b"".join(part.get("body", b"") for part in sent[1:]).decode()

    def connect(self, host: str = "127.0.0.1:3001", **headers: str) -> list[str]:
        """Open a WebSocket; returns the types of the messages that come back."""
        scope = {
            "type": "websocket",
            "path": "/graphql",
            "query_string": b"",
            "client": ("10.0.0.9", 40000),
            "headers": self._headers(host, headers),
        }
        return [message["type"] for message in self._run(scope)]

    def _headers(self, host: str, headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return [(name.encode(), value.encode()) for name, value in ({"host": host} | named).items()]

    def _run(self, scope) -> list[dict]:
        sent: list[dict] = []

        async def receive() -> dict:
            return {"type": "websocket.connect" if scope["type"] == "websocket" else "http.request"}

        async def send(message) -> None:
            sent.append(message)

        asyncio.run(self.guard(scope, receive, send))
        return sent


@pytest.fixture
def local() -> Client:
    """Reached from this machine only: no login."""
    dagster = Dagster()
    return Client(Guard(dagster, set(), any_address=False, login=None), dagster)


@pytest.fixture
def guarded() -> Client:
    """Reached from other machines."""
    dagster = Dagster()
    return Client(Guard(dagster, {"emm.example.org"}, any_address=True, login=lambda: LOGIN), dagster)


def test_the_pages_own_requests_reach_dagster(local):
    assert local.ask()[0] == 200
    same = "http://127.0.0.1:3001"
    json = {"content_type": "application/json", "origin": same, "sec_fetch_site": "same-origin"}
    assert local.ask("POST", "/graphql", **json)[0] == 200
    assert local.connect(origin=same) == ["websocket.accept"]
    assert local.ask("POST", "/graphql", content_type="application/json")[0] == 200, "a program, which has no origin"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("path", ["/graphql", "/graphql/", "//graphql"])
def test_a_mutation_in_an_address_is_refused(local, method, path):
    status, _, body = local.ask(method, path, STOP)
    assert status == 403
    assert "POST" in body
    assert local.dagster.reached == []


@pytest.mark.parametrize("path", ["/graphql\n", "/graphql\r", "/report_asset_observation/meter_readings\n"])
def test_a_path_with_a_control_character_which_dagster_would_take_for_another_is_refused(local, path):
    assert local.ask("GET", path, STOP)[0] == 403
    assert local.dagster.reached == []


@pytest.mark.parametrize("content_type", ["text/plain", "application/graphql", "application/x-www-form-urlencoded", ""])
def test_graphql_that_a_foreign_form_could_send_is_refused(local, content_type):
    assert local.ask("POST", "/graphql", content_type=content_type)[0] == 403


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:8000", "https://127.0.0.1", "http://localhost:3001"]
)
@pytest.mark.parametrize("path", ["/graphql", "/report_asset_materialization/meter_readings", "/anything"])
def test_a_page_of_another_origin_reaches_nothing(local, origin, path):
    assert local.ask("POST", path, origin=origin, content_type="application/json")[0] == 403
    assert local.ask("GET", path, origin=origin)[0] == 403
    assert local.connect(origin=origin) == ["websocket.close"]
    assert local.dagster.reached == []


def test_a_foreign_page_is_known_by_what_the_browser_says_of_it_too(local):
    for site in ("cross-site", "same-site"):
        assert local.ask("POST", "/report_asset_observation/meter_readings", sec_fetch_site=site)[0] == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:3001", "192.168.1.5:3001", "", "localhost.evil.example", "[::1"]
)
def test_a_name_that_is_not_ours_is_refused(local, host):
    status, _, body = local.ask(host=host)
    assert status == 403
    assert "EMM_HOSTS" in body
    assert local.connect(host) == ["websocket.close"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:3001", "127.0.0.1", "[::1]:3001", "127.0.0.5:99"])
def test_this_machines_own_names_are_ours(local, host):
    assert local.ask(host=host)[0] == 200


def test_beyond_this_machine_its_addresses_and_the_named_hosts_are_ours(guarded):
    for host in ("192.168.1.5:3001", "emm.example.org", "EMM.example.org:3001"):
        assert guarded.ask(host=host, **basic(*LOGIN))[0] == 200
    assert guarded.ask(host="evil.example", **basic(*LOGIN))[0] == 403
    assert guarded.ask(host="emm.example.org", origin="https://emm.example.org", **basic(*LOGIN))[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic("anna", "wrong"),
        basic("bert", "pass:wörd"),
        basic("anna", ""),
        {"authorization": "Basic !"},
        {"authorization": "Bearer x"},
        {"authorization": "Basic " + base64.b64encode(b"\xff:\xff").decode()},
    ],
)
def test_without_the_login_nothing_is_seen(guarded, headers):
    status, reply, body = guarded.ask(**headers)
    assert status == 401
    assert reply["www-authenticate"].startswith("Basic")
    assert "secret" not in body
    assert guarded.connect(**headers) == ["websocket.close"]
    assert guarded.dagster.reached == []


def test_an_empty_password_opens_nothing():
    dagster = Dagster()
    client = Client(Guard(dagster, set(), any_address=True, login=lambda: ("admin", "")), dagster)
    assert client.ask(**basic("admin", ""))[0] == 401


def test_a_changed_password_holds_from_the_next_request_on():
    login = ["old"]
    dagster = Dagster()
    client = Client(Guard(dagster, set(), any_address=True, login=lambda: ("admin", login[0])), dagster)
    assert client.ask(**basic("admin", "old"))[0] == 200
    login[0] = "new"
    assert client.ask(**basic("admin", "old"))[0] == 401
    assert client.ask(**basic("admin", "new"))[0] == 200


def test_failed_logins_are_logged_without_the_password_and_limited_for_that_client_only(guarded, caplog):
    for _ in range(ALLOWED):
        assert guarded.ask(**basic("anna\n", "gu3ss"))[0] == 401
    assert len(caplog.messages) == ALLOWED
    assert "10.0.0.9" in caplog.messages[0]
    assert "\n" not in caplog.messages[0]
    assert "gu3ss" not in caplog.text
    status, reply, _ = guarded.ask(**basic(*LOGIN))
    assert status == 429
    assert 0 < int(reply["retry-after"]) <= WITHIN_S + 1
    assert guarded.ask(client="10.0.0.10", **basic(*LOGIN))[0] == 200


def test_the_limit_ends_by_itself_and_a_login_clears_it():
    now = [0.0]
    failed = FailedLogins(lambda: now[0])
    for _ in range(ALLOWED):
        assert failed.wait_s("10.0.0.9") == 0
        failed.add("10.0.0.9")
    assert failed.wait_s("10.0.0.9") > 0
    now[0] += WITHIN_S + 1
    assert failed.wait_s("10.0.0.9") == 0
    failed.forget("10.0.0.9")
    assert failed.add("10.0.0.9") == 1


def test_addresses_of_one_ipv6_network_are_one_client():
    failed = FailedLogins(lambda: 0.0)
    for number in range(ALLOWED):
        failed.add(f"2001:db8::{number:x}")
    assert failed.wait_s("2001:db8::ffff") > 0
    assert failed.wait_s("2001:db8:0:1::1") == 0


def test_no_page_elsewhere_may_frame_or_read_a_reply(local):
    _, reply, _ = local.ask()
    assert reply["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in reply["content-security-policy"]
    assert "access-control-allow-origin" not in reply


def test_health_is_told_without_a_login_and_nothing_else_is(guarded):
    assert guarded.ask(path="/healthz")[::2] == (200, "ok\n")
    assert guarded.dagster.reached == ["GET /server_info"]
    assert guarded.ask(path="/server_info")[0] == 401
