"""All of EMM on loopback: code server, webserver and daemon with a real PostgreSQL."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import psutil
from sqlalchemy import text
from support.dagster_ui import DagsterUI, wait_for
from support.ports import free_port
from support.postgres import TEMPLATE, administrate, copy_cluster

from emm_pipeline.cli.demo.processes import ProcessGroup, answers, listens
from emm_pipeline.config_db.engine import create_config_engine
from emm_pipeline.embedded_postgres import EmbeddedPostgres
from emm_pipeline.settings import PROJECT_ROOT, Settings

_BIN, _WORKSPACE = Path(sys.executable).parent, PROJECT_ROOT / "workspace.yaml"

REGISTERS = """
    INSERT INTO registers VALUES
      ('sdm630', 0, 'voltageL1', 'V', 3, 4, 2, 2),
      ('sdm630', 2, 'voltageL2', 'V', 3, 4, 2, 2),
      ('sdm630', 52, 'activePower', NULL, 3, 4, 2, 2)
"""


def _is_forked(process: psutil.Process, server: psutil.Process) -> bool:
    """Whether a process was forked from the code server, or is the fork server that took that one's place."""
    try:
        command = process.cmdline()
        return command == server.cmdline() or "multiprocessing.forkserver" in " ".join(command)
    except psutil.Error:  # it has ended
        return False


class Stack:
    """All processes except the meters and the readings store; a context manager that stops them.

    PostgreSQL's data is in `data_disk`, by default in `folder` as everything else.
    """

    def __init__(
        self, folder: Path, environment: Mapping[str, str], *, durable: bool = False, data_disk: Path | None = None
    ) -> None:
        self.postgres = EmbeddedPostgres((data_disk or folder) / "postgres", durable=durable)
        self._processes = ProcessGroup(folder / "logs")
        self._home = folder / "dagster"
        self.ui = DagsterUI(f"http://127.0.0.1:{free_port()}")
        self.environment = {
            **os.environ,
            "POSTGRES_HOST": str(self.postgres.socket_dir),
            "POSTGRES_PORT": "5432",
            "POSTGRES_USER": "postgres",
            "POSTGRES_DB": "emm",
            "DAGSTER_HOME": str(self._home),
            "OUTBOX_DIR": str(folder / "outbox"),
            "EMM_CODE_SERVER_HOST": "127.0.0.1",
            "EMM_CODE_SERVER_PORT": str(free_port()),
            **environment,
        }
        fields = {name.lower(): value for name, value in self.environment.items()}
        self.settings = Settings(**{name: fields[name] for name in Settings.model_fields if name in fields})

    def __enter__(self) -> Self:
        self._home.mkdir(parents=True)
        shutil.copyfile(PROJECT_ROOT / "dagster.yaml", self._home / "dagster.yaml")
        copy_cluster(self.postgres.data_dir)
        self.postgres.start()
        for suffix in ("", "_dagster"):
            administrate(self.postgres, f"ALTER DATABASE {TEMPLATE}{suffix} RENAME TO emm{suffix}")
        self.engine = create_config_engine(self.settings.config_database_url)
        self.sql(REGISTERS)
        self._start_dagster()
        return self

    def _start_dagster(self) -> None:
        self.start_code_server()
        ui_port = self.ui.url.rsplit(":", 1)[1]
        webserver = [_BIN / "emm", "webserver", "--port", ui_port, "--workspace", _WORKSPACE]
        self._processes.start("webserver", webserver, self.environment)
        self.start_daemon()
        self._wait_for("the webserver", lambda: answers(f"{self.ui.url}/server_info"))

    def start_code_server(self) -> None:
        """Start the code server, also after it was killed, and wait until it listens."""
        port = self.environment["EMM_CODE_SERVER_PORT"]
        self._processes.start("code_server", [_BIN / "emm", "code-server", "--port", port], self.environment)
        self._wait_for("the code server", lambda: listens(int(port)))

    def start_daemon(self) -> None:
        """Start the daemon, also after it was killed."""
        self._processes.start("daemon", [_BIN / "emm", "daemon", "--workspace", _WORKSPACE], self.environment)

    def kill(self, name: str) -> None:
        """SIGKILL the code server with its runs, or the daemon, as if the host had crashed."""
        self._processes.kill(name)

    def processes(self) -> dict[str, psutil.Process]:
        """Return the stack's own processes by name, without their children."""
        names = ("code_server", "webserver", "daemon")
        postmaster = int((self.postgres.data_dir / "postmaster.pid").read_text().split()[0])
        return {name: psutil.Process(self._processes.pid(name)) for name in names} | {
            "postgres": psutil.Process(postmaster)
        }

    def run_workers(self) -> list[psutil.Process]:
        """Return the processes of the runs in progress."""
        return [run for server in self.fork_servers() for run in server.children()]

    def fork_servers(self) -> list[psutil.Process]:
        """Return the process from which runs are forked; an empty list before the code server has started it."""
        server = psutil.Process(self._processes.pid("code_server"))
        return [child for child in server.children() if _is_forked(child, server)]

    def _wait_for(self, what: str, look: Any) -> None:
        def check_and_look() -> bool:
            self._processes.check()
            return bool(look())

        wait_for(what, check_and_look)

    def __exit__(self, *_: object) -> None:
        self._processes.stop()
        self.engine.dispose()
        self.postgres.stop()

    def sql(self, statement: str, **values: Any) -> None:
        """Execute a statement in the configuration database, as a person would."""
        with self.engine.begin() as connection:
            connection.execute(text(statement), values)

    def add_meter(self, id_: int, port: int, unit_id: int = 1, description: str | None = None) -> None:
        """Add a row to energy_meters, of the type sdm630."""
        self.sql(
            "INSERT INTO energy_meters VALUES (:id, '127.0.0.1', :port, :unit, 'sdm630', :description)",
            id=id_,
            port=port,
            unit=unit_id,
            description=description,
        )

    def log(self, name: str) -> str:
        """Return the log of a process."""
        return self._processes.log(name).read_text(errors="replace")
