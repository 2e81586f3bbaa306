"""The webserver as a process, listening for other machines."""

import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress

import pytest
from support.command_line import EMM
from support.dagster_ui import wait_for
from support.guard_client import basic
from support.ports import free_port

from emm_pipeline.http_access.failed_logins import ALLOWED

LOGIN = ("dagster", "the right password")


@pytest.fixture
def address(pipeline, monkeypatch, tmp_path) -> Iterator[str]:
    """The address of a webserver that requires a login, without a code server."""
    monkeypatch.setenv("DAGSTER_LOGIN_USER", LOGIN[0])
    monkeypatch.setenv("DAGSTER_LOGIN_PASSWORD", LOGIN[1])
    workspace = tmp_path / "workspace.yaml"
    workspace.write_text("load_from: []\n")
    port = free_port()
    command = [EMM, "webserver", "--host", "0.0.0.0", "--port", str(port), "--workspace", str(workspace)]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{port}/server_info"
        wait_for("the webserver", lambda: answers(address), 120)
        yield address
    finally:
        server.terminate()
        server.wait()


def answers(address: str) -> bool:
    with suppress(urllib.error.URLError, ConnectionError):
        return status(address) == 401
    return False


def status(address: str, login: tuple[str, str] | None = None, **headers: str) -> int:
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    if login:
        headers.update(basic(*login))
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=30) as reply:
            return reply.status
    except urllib.error.HTTPError as err:
        with err:
            return err.code


def test_a_client_that_reports_other_addresses_is_counted_as_one_and_the_limit_holds(address):
    assert status(address, LOGIN) == 200
    seen = [status(address, ("dagster", "wrong"), X_Forwarded_For=f"10.0.0.{number}") for number in range(ALLOWED + 1)]
    assert seen == [401] * ALLOWED + [429]
    assert status(address, LOGIN, X_Forwarded_For="10.0.1.1", X_Real_IP="10.0.1.1") == 429
