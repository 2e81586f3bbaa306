"""`emm code-server` serves EMM's definitions, patched; importing the definitions patches nothing."""

import socket
import subprocess
import sys

import pytest

from emm_pipeline.dagster_ext import code_server

PATCHED = """
from dagster._grpc.server import DagsterApiServer
before = dict(vars(DagsterApiServer))
{statement}
print(sorted(name for name, value in vars(DagsterApiServer).items() if before.get(name) is not value))
"""


@pytest.mark.parametrize(
    ("statement", "patched"),
    [
        ("import emm_pipeline.definitions", []),
        (
            "from emm_pipeline.dagster_ext.code_server import patch_code_servers; patch_code_servers('json')",
            ["_check_for_orphaned_runs", "_mp_ctx"],
        ),
    ],
    ids=["importing the definitions", "starting the code server"],
)
def test_the_code_server_is_patched_when_it_is_started_and_not_by_an_import(statement, patched):
    program = PATCHED.format(statement=statement)
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == str(patched), said.stderr


def test_an_error_in_the_check_for_dead_runs_is_logged_and_the_next_check_is_made(monkeypatch, caplog):
    monkeypatch.setattr(code_server, "ensure_fork_server", lambda: None)
    checks = []

    def check():
        checks.append(len(checks))
        if len(checks) == 1:
            raise ConnectionError("the database system is starting up")

    for _ in range(2):
        code_server._check_and_continue(check)
    assert len(checks) == 2
    assert "the database system is starting up" in caplog.text


def test_a_second_code_server_at_the_same_address_is_refused_with_what_to_do(emm_alone):
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as other:
        port = other.getsockname()[1]
        result = emm_alone("code-server", "--port", port)
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: cannot listen at 127.0.0.1:{port} (Address already in use)")
    assert "--port" in result.stderr


def test_a_host_name_that_is_not_of_this_machine_is_refused(emm_alone):
    result = emm_alone("code-server", "--host", "192.0.2.1")
    assert result.returncode == 2
    assert result.stderr.startswith("error: cannot listen at 192.0.2.1:4000")


def test_a_settings_file_is_refused_and_not_ignored(emm_alone, tmp_path):
    file = tmp_path / "own.env"
    file.write_text("MAX_CONNECTIONS=17\n")
    result = emm_alone("--env-file", file, "code-server")
    assert result.returncode == 2
    assert "--env-file has no effect here" in result.stderr
