"""docker/Caddyfile, run with Debian's Caddy in front of a web server."""

import base64
import http.client
import os
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlencode

import pytest
from support.dagster_ui import wait_for
from support.ports import free_port
from support.web import PASSWORD, WebServer, web_server

from emm_pipeline.settings import PROJECT_ROOT


@pytest.fixture(scope="module")
def caddy() -> str:
    program = shutil.which("caddy")
    if not program:
        pytest.skip("Caddy is not installed: apt-get install caddy")
    return program


@pytest.fixture(scope="module")
def upstream() -> Iterator[ThreadingHTTPServer]:
    """A web server that answers with the path, login, host and client of the request."""

    class Echo(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that http.server looks for
            told = (self.headers.get(name) for name in ("Authorization", "Host", "X-Forwarded-For"))
            reply = " ".join([self.path, *map(str, told)]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def page(postgres, migrated_template, tmp_path_factory) -> Iterator[WebServer]:
    """The web page, which trusts a proxy on this machine."""
    folder = tmp_path_factory.mktemp("web")
    with web_server(postgres, migrated_template, folder, needs_login=True, emm_trusted_proxies="127.0.0.1") as server:
        yield server


@pytest.fixture(scope="module")
def ports(caddy, upstream, page, tmp_path_factory) -> Iterator[dict[str, int]]:
    ports = {"DAGSTER": free_port(), "GRAFANA": free_port(), "WEB": free_port()}
    address = f"127.0.0.1:{upstream.server_port}"
    folder = str(tmp_path_factory.mktemp("data"))
    environment = {
        **os.environ,
        "EMM_PROXY_HOST": "localhost",
        "EMM_PROXY_TLS": "internal",
        **{f"{name}_PROXY_PORT": str(port) for name, port in ports.items()},
        **{f"{name}_UPSTREAM": address for name in ("DAGSTER", "GRAFANA")},
        "WEB_UPSTREAM": f"127.0.0.1:{page.port}",
        "HOME": folder,
        "XDG_DATA_HOME": folder,
        "XDG_CONFIG_HOME": folder,
    }
    command = [caddy, "run", "--adapter", "caddyfile", "--config", str(PROJECT_ROOT / "docker" / "Caddyfile")]
    with open(f"{folder}/log", "wb") as log:  # noqa: PTH123
        process = subprocess.Popen(command, env=environment, stderr=log)
    try:
        wait_for("Caddy to answer", lambda: all(map(answers, ports.values())), timeout_s=60, every_s=0.1)
        yield ports
    finally:
        process.terminate()
        process.wait(60)


def answers(port: int) -> bool:
    """Whether Caddy answers over TLS: it listens a moment before it has created its certificate."""
    try:
        get(port)
    except OSError:
        return False
    return True


def get(port: int, login: str | None = None) -> tuple[int, str]:
    """Return status and body of a page over TLS, without a check of the certificate."""
    context = ssl._create_unverified_context()
    connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=60)
    headers = {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"} if login else {}
    connection.request("GET", "/runs", headers=headers)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


def test_dagsters_guard_asks_for_the_login_and_gets_host_and_client(ports):
    status, body = get(ports["DAGSTER"], "anna:pass $word")
    assert status == 200
    path, scheme, login, host, client = body.split()
    assert (path, scheme, base64.b64decode(login)) == ("/runs", "Basic", b"anna:pass $word")
    assert host == f"localhost:{ports['DAGSTER']}"
    assert client in {"127.0.0.1", "::1"}


def test_grafana_asks_for_its_own_login_and_gets_it(ports):
    status, body = get(ports["GRAFANA"], "grafana:user")
    assert (status, body.split()[:2]) == (200, ["/runs", "Basic"])


def test_the_web_page_accepts_a_login_and_its_cookie_is_sent_over_tls_only(ports):
    context = ssl._create_unverified_context()
    connection = http.client.HTTPSConnection("localhost", ports["WEB"], context=context, timeout=60)
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"https://localhost:{ports['WEB']}"}
    connection.request("POST", "/login", urlencode({"name": "admin", "password": PASSWORD}), headers)
    reply = connection.getresponse()
    cookies = [value for name, value in reply.getheaders() if name.lower() == "set-cookie"]
    assert reply.status == 303
    (session,) = [cookie for cookie in cookies if cookie.startswith("emm_session=")]
    assert session.endswith("; Secure")
    connection.close()


def test_pages_are_served_only_over_tls(ports):
    connection = http.client.HTTPConnection("127.0.0.1", ports["DAGSTER"], timeout=60)
    connection.request("GET", "/runs")
    assert connection.getresponse().status == 400
    connection.close()
