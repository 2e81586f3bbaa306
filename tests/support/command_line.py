"""The command line in a separate process, with its own database."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support import forked_commands
from support.ports import free_port
from support.postgres import connection_settings
from support.shared import made_once, owner

EMM = Path(sys.executable).with_name("emm")
TIMEOUT_S = 120
READ_AT_START = ("PYTHON", "LC_", "LANG")
"""Variables that Python reads when it starts, by the beginning of their names: a forked process would ignore them."""


class CommandLine:
    """Runs `emm ARGUMENT…` with these settings; keyword arguments are further variables.

    `server` is the socket of support.forked_commands.
    """

    def __init__(self, settings: dict[str, str], server: Path) -> None:
        self.settings = settings
        self.server = server

    def __call__(self, *arguments, stdin: str | bytes = "", **environment: str) -> subprocess.CompletedProcess[str]:
        command = [os.fsdecode(each) if isinstance(each, bytes) else str(each) for each in arguments]
        variables = {**os.environ, **self.settings, **environment}
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            given.write(stdin.encode() if isinstance(stdin, str) else stdin)
            given.seek(0)
            if any(name.startswith(READ_AT_START) for name in environment):
                streams = {"stdin": given, "stdout": out, "stderr": err}
                code = subprocess.run(
                    [EMM, *command], check=False, env=variables, timeout=TIMEOUT_S, **streams
                ).returncode
            else:
                request = {
                    "program": str(EMM),
                    "arguments": command,
                    "environment": variables,
                    "folder": str(Path.cwd()),
                }
                streams = [given.fileno(), out.fileno(), err.fileno()]
                code = forked_commands.run(str(self.server), request, streams, TIMEOUT_S)
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess([EMM, *command], code, out.read().decode(), err.read().decode())

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


_servers: list[subprocess.Popen[bytes]] = []
"""Those that this process started: Python warns if one is forgotten that runs."""


def _start_commands(path: Path) -> None:
    server = subprocess.Popen(
        [sys.executable, forked_commands.__file__, str(path), str(owner())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    _servers.append(server)
    assert server.stdout.readline() == b"ready\n"
    server.stdout.close()


@pytest.fixture(scope="session")
def command_server() -> Path:
    """The socket of a process that has imported the commands."""
    return made_once("commands", _start_commands)


@pytest.fixture
def emm(postgres, config_url, tmp_path, command_server) -> CommandLine:
    """The command line and a fresh configuration database."""
    return CommandLine(
        {
            **connection_settings(postgres, config_url.database),
            "READINGS_STORE": "postgresql",
            "OUTBOX_DIR": str(tmp_path / "outbox"),
            "EMM_COMMAND": "emm",
        },
        command_server,
    )


@pytest.fixture
def emm_alone(command_server) -> CommandLine:
    """The command line without a database."""
    settings = {"POSTGRES_HOST": "127.0.0.1", "POSTGRES_PORT": str(free_port()), "EMM_COMMAND": "emm"}
    return CommandLine(settings, command_server)
