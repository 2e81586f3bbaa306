"""docker/Caddyfile and docker/proxy, run with Debian's Caddy in front of a web server."""

import base64
import http.client
import os
import re
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from support.dagster_ui import wait_for
from support.ports import free_port

from emm_pipeline.settings import PROJECT_ROOT

LOGIN = {"DAGSTER_LOGIN_USER": "anna", "DAGSTER_LOGIN_PASSWORD": "pass $word"}


@pytest.fixture(scope="module")
def caddy() -> str:
    program = shutil.which("caddy")
    if not program:
        pytest.skip("Caddy is not installed: apt-get install caddy")
    return program


@pytest.fixture(scope="module")
def upstream() -> Iterator[ThreadingHTTPServer]:
    """A web server that answers with the path and the login that it was sent."""

    class Echo(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that http.server looks for
            reply = f"{self.path} {self.headers.get('Authorization')}".encode()
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
def caddyfile(caddy, tmp_path_factory) -> str:
    """The project's; before Caddy 2.8 the directive basic_auth had another name."""
    text = (PROJECT_ROOT / "docker" / "Caddyfile").read_text()
    version = subprocess.run([caddy, "version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"(\d+)\.(\d+)", version)
    if found and (int(found[1]), int(found[2])) < (2, 8):
        text = text.replace("basic_auth", "basicauth")
    file = tmp_path_factory.mktemp("caddy") / "Caddyfile"
    file.write_text(text)
    return str(file)


@pytest.fixture(scope="module")
def ports(caddyfile, upstream, tmp_path_factory) -> Iterator[dict[str, int]]:
    ports = {"DAGSTER": free_port(), "GRAFANA": free_port()}
    address = f"127.0.0.1:{upstream.server_port}"
    folder = str(tmp_path_factory.mktemp("data"))
    environment = {
        **os.environ,
        **LOGIN,
        "EMM_PROXY_HOST": "localhost",
        "EMM_PROXY_TLS": "internal",
        **{f"{name}_PROXY_PORT": str(port) for name, port in ports.items()},
        **{f"{name}_UPSTREAM": address for name in ports},
        "HOME": folder,
        "XDG_DATA_HOME": folder,
        "XDG_CONFIG_HOME": folder,
    }
    with open(f"{folder}/log", "wb") as log:  # noqa: PTH123
        process = subprocess.Popen([PROJECT_ROOT / "docker" / "proxy", caddyfile], env=environment, stderr=log)
    try:
        wait_for("Caddy to answer", lambda: all(map(answers, ports.values())), timeout_s=20, every_s=0.1)
        yield ports
    finally:
        process.terminate()
        process.wait(10)


def answers(port: int) -> bool:
    """Whether there is an answer over TLS: Caddy listens a moment before it has made its certificate."""
    try:
        get(port)
    except OSError:
        return False
    return True


def get(port: int, login: str | None = None) -> tuple[int, str]:
    """Return status and body of a page, by TLS with the certificate as it comes."""
    context = ssl._create_unverified_context()
    connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=10)
    headers = {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"} if login else {}
    connection.request("GET", "/runs", headers=headers)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


@pytest.mark.parametrize("login", [None, "anna:wrong", "bert:pass $word", "anna:"])
def test_dagster_is_not_seen_without_the_login(ports, login):
    assert get(ports["DAGSTER"], login) == (401, "")


def test_dagster_is_seen_with_the_login_and_never_learns_it(ports):
    assert get(ports["DAGSTER"], "anna:pass $word") == (200, "/runs None")


def test_grafana_asks_for_its_own_login_and_gets_it(ports):
    status, body = get(ports["GRAFANA"], "grafana:user")
    assert (status, body.split()[:2]) == (200, ["/runs", "Basic"])


def test_without_tls_nothing_is_served(ports):
    connection = http.client.HTTPConnection("127.0.0.1", ports["DAGSTER"], timeout=10)
    connection.request("GET", "/runs")
    assert connection.getresponse().status == 400
    connection.close()


@pytest.mark.parametrize("password", ["", "example_dagster_password"])
def test_it_does_not_start_with_the_example_password(password):
    environment = {"PATH": os.environ["PATH"], "DAGSTER_LOGIN_PASSWORD": password}
    done = subprocess.run([PROJECT_ROOT / "docker" / "proxy"], env=environment, capture_output=True, check=False)
    assert done.returncode == 1
    assert b"make secrets" in done.stderr
