"""`emm influxdb setup`: tokens of an InfluxDB 2.x (its API played by a small server), and a real 1.x that has none."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner

from emm_pipeline.cli.main import emm
from emm_pipeline.errors import ConfigurationError, StoreError
from emm_pipeline.settings import Settings
from emm_pipeline.stores.influxdb.setup import InfluxSetup, Tokens

ADMIN = "the-admin-token"
ORG_ID, BUCKET_ID = "0a0a", "0b0b"
ORGS, BUCKETS = [{"id": ORG_ID, "name": "emm"}], [{"id": BUCKET_ID, "name": "emm"}]
DENIED = 401, {"code": "unauthorized"}


class InfluxAPI:
    """What the setup asks of InfluxDB 2.x: organizations, buckets, authorizations, mappings, and who may do what."""

    def __init__(self) -> None:
        self.authorizations: dict[str, dict] = {}
        self.mappings: list[dict] = []
        self._made = 0
        api = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                """Keep quiet."""

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                parts = urlsplit(self.path)
                query = {key: values[0] for key, values in parse_qs(parts.query).items()}
                token = self.headers["Authorization"].removeprefix("Token ")
                request = f"{self.command} {parts.path}"
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
        resource = {"type": "buckets", "id": BUCKET_ID, "orgID": ORG_ID}
        return any(
            one["token"] == token and one["permissions"] == [{"action": action, "resource": resource}]
            for one in self.authorizations.values()
        )

    def handle(self, request: str, token: str, query: dict, body: dict | None) -> tuple[int, dict | None]:
        answers = {
            "POST /api/v2/write": lambda: (204, None) if self.may(token, "write") else DENIED,
            "GET /query": lambda: (200, {"results": []}) if self.may(token, "read") else DENIED,
        }
        if token == ADMIN:
            answers |= {
                "GET /api/v2/orgs": lambda: (200, {"orgs": ORGS}) if query["org"] == "emm" else (404, {}),
                "GET /api/v2/buckets": lambda: (200, {"buckets": BUCKETS if query["name"] == "emm" else []}),
                "GET /api/v2/dbrps": lambda: (200, {"content": self.mappings}),
                "POST /api/v2/dbrps": lambda: (201, self.mappings.append(body)),
                "GET /api/v2/authorizations": lambda: (200, {"authorizations": list(self.authorizations.values())}),
                "POST /api/v2/authorizations": lambda: (201, self.authorize(body or {})),
            }
            for id_ in self.authorizations:
                answers[f"DELETE /api/v2/authorizations/{id_}"] = lambda id_=id_: (204, self.withdraw(id_))
        return answers.get(request, lambda: DENIED)()

    def withdraw(self, id_: str) -> None:
        del self.authorizations[id_]

    def authorize(self, asked: dict) -> dict:
        self._made += 1
        made = {**asked, "id": f"id{self._made}", "token": f"token{self._made}"}
        return self.authorizations.setdefault(made["id"], made)


@pytest.fixture
def api() -> Iterator[InfluxAPI]:
    api = InfluxAPI()
    thread = threading.Thread(target=api.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield api
    api.server.shutdown()
    thread.join()
    api.server.server_close()


@pytest.fixture
def setup(api: InfluxAPI) -> InfluxSetup:
    return InfluxSetup(api.url, ADMIN, "emm", "emm")


def test_the_pipelines_token_may_only_write_and_grafanas_only_read(api, setup):
    tokens = setup.ensure_tokens(None)
    assert api.may(tokens.write, "write")
    assert not api.may(tokens.write, "read")
    assert api.may(tokens.read, "read")
    assert not api.may(tokens.read, "write")
    assert ADMIN not in (tokens.write, tokens.read)


def test_the_reason_of_an_error_is_said_and_the_token_is_not(api, setup):
    refused = 400, {"code": "invalid", "message": f"name has a slash, says {ADMIN}\nand more"}
    api.handle = lambda *_: refused
    with pytest.raises(StoreError, match=r"HTTP 400 to GET /api/v2/orgs: name has a slash, says \*\*\* and more$"):
        setup.ensure_database()


def test_a_password_in_the_url_is_shown_in_no_message_of_the_setup(api):
    port = api.server.server_port
    attempts = {
        f"http://user:geheim@127.0.0.1:{port}": ("absent", "has no INFLUXDB_ORG named"),
        "http://user:geheim@127.0.0.1:1": ("emm", "does not answer"),
        "http://user:geheim@host..example:8086": ("emm", "does not answer"),
    }
    for url, (org, reason) in attempts.items():
        with pytest.raises((ConfigurationError, StoreError), match=reason) as caught:
            InfluxSetup(url, ADMIN, org, "emm").ensure_database()
        assert "geheim" not in str(caught.value)
        assert "user" not in str(caught.value)


def test_tokens_that_still_work_are_kept_and_others_replaced_without_leaving_one_behind(api, setup):
    tokens = setup.ensure_tokens(None)
    assert setup.ensure_tokens(tokens) == tokens
    replaced = setup.ensure_tokens(Tokens(tokens.write, "of another server"))
    assert replaced != tokens
    assert {one["token"] for one in api.authorizations.values()} == {replaced.write, replaced.read}


def test_tokens_that_people_made_are_left_alone(api, setup):
    api.authorizations["theirs"] = {"id": "theirs", "token": "theirs", "description": "my script", "permissions": []}
    setup.ensure_tokens(None)
    assert "theirs" in api.authorizations


def test_the_bucket_gets_its_name_as_a_database_once(api, setup):
    assert setup.ensure_database()
    (mapping,) = api.mappings
    assert (mapping["database"], mapping["bucketID"], mapping["default"]) == ("emm", BUCKET_ID, True)
    assert not setup.ensure_database()
    assert len(api.mappings) == 1


@pytest.mark.parametrize(
    ("org", "bucket", "named"), [("other", "emm", "INFLUXDB_ORG"), ("emm", "x", "INFLUXDB_BUCKET")]
)
def test_a_name_that_influxdb_does_not_know_is_named(api, org, bucket, named):
    with pytest.raises(ConfigurationError, match=named):
        InfluxSetup(api.url, ADMIN, org, bucket).ensure_tokens(None)


def test_a_wrong_admin_token_is_said_and_not_shown(api):
    with pytest.raises(StoreError, match="DOCKER_INFLUXDB_INIT_ADMIN_TOKEN") as caught:
        InfluxSetup(api.url, "wr0ng", "emm", "emm").has_tokens()
    assert "wr0ng" not in str(caught.value)


def test_an_influxdb_that_is_away_is_said_with_its_address():
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:1 does not answer"):
        InfluxSetup("http://127.0.0.1:1", ADMIN, "emm", "emm").has_tokens()


def test_a_real_influxdb_1_has_no_tokens_to_make(influxdb):
    assert not InfluxSetup(influxdb.url, influxdb.token, "emm", "emm").has_tokens()


class TestCommand:
    @pytest.fixture
    def run(self, tmp_path, monkeypatch):
        """Run the command with settings; returns its output and the files: write token, read token, database."""
        files = {name: tmp_path / name for name in ("write-token", "read-token", "database")}

        def run(**settings: str) -> tuple[str, list[str]]:
            for name in Settings.model_fields:
                monkeypatch.delenv(name.upper(), raising=False)
            for name, value in settings.items():
                monkeypatch.setenv(name, value)
            arguments = [part for name, path in files.items() for part in (f"--{name}", str(path))]
            result = CliRunner().invoke(emm, ["influxdb", "setup", *arguments], catch_exceptions=False)
            assert result.exit_code == 0, result.output
            return result.output, [path.read_text() for path in files.values()]

        return run

    def stack_settings(self, url: str, token: str = ADMIN) -> dict[str, str]:
        return {"INFLUXDB_URL": url, "INFLUXDB_TOKEN": token, "DOCKER_INFLUXDB_INIT_ADMIN_TOKEN": token}

    def test_it_writes_new_tokens_and_the_second_time_keeps_them(self, api, run):
        output, files = run(**self.stack_settings(api.url))
        assert "made a token to write and one to read" in output
        assert files == ["token1", "token2", "emm"]
        output, again = run(**self.stack_settings(api.url))
        assert "tokens kept" in output
        assert again == files

    def test_no_token_is_printed(self, api, run):
        output, files = run(**self.stack_settings(api.url))
        assert not [secret for secret in (ADMIN, *files[:2]) if secret in output]

    def test_against_1_x_the_one_token_serves_and_the_step_says_so(self, influxdb, run):
        output, files = run(**self.stack_settings(influxdb.url, influxdb.token))
        assert "left out" in output
        assert files == [influxdb.token, influxdb.token, "emm"]

    def test_an_influxdb_of_ones_own_keeps_its_tokens(self, api, run):
        output, files = run(
            INFLUXDB_URL=api.url,
            INFLUXDB_TOKEN="user:pw",
            INFLUXDB_READ_TOKEN="reader:pw",
            INFLUXDB_BUCKET="house/year",
        )
        assert "your own" in output
        assert files == ["user:pw", "reader:pw", "house"], "Grafana asks for the database, without its policy"
        assert not api.authorizations

    def test_readings_in_postgresql_need_no_influxdb(self, run):
        output, _ = run(READINGS_STORE="postgresql", INFLUXDB_URL="http://127.0.0.1:1")
        assert "left alone" in output
