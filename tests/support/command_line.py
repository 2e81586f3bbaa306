"""The command line in a separate process, with its own database."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.ports import free_port

EMM = Path(sys.executable).with_name("emm")


class CommandLine:
    """Runs `emm ARGUMENT…` with these settings; keyword arguments are further variables."""

    def __init__(self, settings: dict[str, str]) -> None:
        self.settings = settings

    def __call__(self, *arguments, stdin: str | bytes = "", **environment: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [EMM, *(each if isinstance(each, bytes) else str(each) for each in arguments)],
            capture_output=True,
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            check=False,
            env={**os.environ, **self.settings, **environment},
            timeout=120,
        )
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    def shell(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run a shell command line, in which $EMM is the command."""
        environment = {**os.environ, **self.settings, "EMM": str(EMM)}
        return subprocess.run(
            ["sh", "-c", line], capture_output=True, text=True, check=False, env=environment, timeout=120
        )

    def start(self, *arguments, **streams: int) -> subprocess.Popen[str]:
        """Start a command that runs until it is interrupted; its output is piped unless streams are given."""
        streams = streams or {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        environment = {**os.environ, **self.settings}
        return subprocess.Popen([EMM, *map(str, arguments)], text=True, env=environment, **streams)


@pytest.fixture
def emm(postgres, config_url, tmp_path) -> CommandLine:
    """The command line and a fresh configuration database."""
    return CommandLine(
        {
            "POSTGRES_HOST": str(postgres.socket_dir),
            "POSTGRES_PORT": "5432",
            "POSTGRES_USER": "postgres",
            "POSTGRES_DB": str(config_url.database),
            "READINGS_STORE": "postgresql",
            "OUTBOX_DIR": str(tmp_path / "outbox"),
        }
    )


@pytest.fixture
def emm_alone() -> CommandLine:
    """The command line without a database."""
    return CommandLine({"POSTGRES_HOST": "127.0.0.1", "POSTGRES_PORT": str(free_port())})
