"""Start and stop the demo's servers and databases, and write the settings that they share."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

from sqlalchemy import text

from emm_pipeline.cli.commands.database import upgrade_databases
from emm_pipeline.cli.demo.log_files import rotate
from emm_pipeline.cli.demo.place import env_file_in
from emm_pipeline.cli.demo.processes import ProcessGroup, answers, free_port, listens
from emm_pipeline.condition.meters import meter_conditions
from emm_pipeline.config_db.upgrade import check, ensure_database
from emm_pipeline.embedded_postgres import EmbeddedPostgres
from emm_pipeline.errors import ConfigDatabaseError, EmmError
from emm_pipeline.opening import open_config_database
from emm_pipeline.settings import PRODUCT_FILES, Settings, current_settings
from emm_pipeline.status import State
from emm_pipeline.stores.postgresql.store import PostgresReadingsStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    import pandas as pd

VIRTUAL_METER_ID = 0
START_TIMEOUT_S = 90.0


class DemoStack:
    """PostgreSQL, the virtual meter and Dagster on this machine; a context manager that stops them all."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.log_dir = data_dir / "logs"
        self.env_file = env_file_in(data_dir)
        self._exit = ExitStack()
        self._postgres = EmbeddedPostgres(data_dir / "postgres")
        self._processes = ProcessGroup(self.log_dir)
        self._shown: datetime = datetime.now(UTC)
        self._settings: Settings | None = None
        self._states: dict[str, State] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()

    @property
    def psql_command(self) -> str:
        """Return the command that opens the configuration database in psql."""
        return shlex.join([str(self._postgres.psql), "-h", str(self._postgres.socket_dir), "-U", "postgres", "emm"])

    def start_meter(self) -> None:
        """Start PostgreSQL and the virtual meter, and put the meter into the database."""
        self._exit.enter_context(self._postgres)
        self._exit.enter_context(self._processes)
        self._settings = self._configure()
        ensure_database(self._settings.config_database_url)
        with open_config_database(self._settings) as engine:
            with engine.begin() as connection:
                connection.exec_driver_sql((PRODUCT_FILES / "config" / "postgres_init.sql").read_text())
            upgrade_databases(self._settings, lambda _: None)
            port = free_port()
            self._start_virtual_meter(port)
            with engine.begin() as connection:
                connection.execute(
                    text("UPDATE energy_meters SET host = '127.0.0.1', port = :port WHERE id = :id"),
                    {"port": port, "id": VIRTUAL_METER_ID},
                )

    def _configure(self) -> Settings:
        """Write the demo's settings to the places where its processes, this one and `emm --env-file` read them."""
        dagster_home = self.data_dir / "dagster"
        dagster_home.mkdir(exist_ok=True)
        shutil.copyfile(PRODUCT_FILES / "dagster.yaml", dagster_home / "dagster.yaml")
        database = {
            "POSTGRES_HOST": str(self._postgres.socket_dir),
            "POSTGRES_PORT": "5432",
            "POSTGRES_USER": "postgres",
            "POSTGRES_DB": "emm",
            "READINGS_STORE": "postgresql",
            "OUTBOX_DIR": str(self.data_dir / "outbox"),
        }
        self.env_file.write_text("".join(f"{name}={value}\n" for name, value in database.items()))
        os.environ.update(database)
        os.environ["DAGSTER_HOME"] = str(dagster_home)
        current_settings.cache_clear()
        return current_settings()

    def _start_virtual_meter(self, port: int) -> None:
        command = [sys.executable, "-m", "virtual_modbustcp_server.test", "--host", "127.0.0.1", "--port", str(port)]
        self._processes.start("virtual_meter", command, os.environ)
        self._wait_until(lambda: listens(port))

    def start_web(self, port: int, dagster_port: int) -> None:
        """Start the page, without a login, and wait until it answers."""
        dagster = f"http://127.0.0.1:{dagster_port}"
        environment = {**os.environ, "DAGSTER_URL": dagster, "DAGSTER_API_URL": dagster}
        command: list[str | Path] = [Path(sys.executable).parent / "emm", "web", "--no-login", "--port", str(port)]
        self._processes.start("web", command, environment)
        self._wait_until(lambda: answers(f"http://127.0.0.1:{port}/healthz"))

    def start_dagster(self, port: int) -> None:
        """Start code server, webserver, daemon and, if MQTT_URL is set, `emm mqtt`; `wait_for_ui` waits for them."""
        code_port = free_port()
        address = {"EMM_CODE_SERVER_HOST": "127.0.0.1", "EMM_CODE_SERVER_PORT": str(code_port)}
        os.environ.update(address)
        with self.env_file.open("a") as file:
            file.writelines(f"{name}={value}\n" for name, value in address.items())
        bin_dir = Path(sys.executable).parent
        workspace = PRODUCT_FILES / "workspace.yaml"
        code_server: list[str | Path] = [bin_dir / "emm", "code-server", "--port", str(code_port)]
        self._processes.start("code_server", code_server, os.environ)
        self._exit.callback(self._end_runs)
        self._wait_until(lambda: listens(code_port))
        webserver: list[str | Path] = [
            bin_dir / "emm",
            "webserver",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--workspace",
            workspace,
        ]
        self._processes.start("webserver", webserver, os.environ)
        self._processes.start("daemon", [bin_dir / "emm", "daemon", "--workspace", workspace], os.environ)
        watchdog: list[str | Path] = [bin_dir / "emm", "watchdog", "--state", self.data_dir / "watchdog.json"]
        self._processes.start("watchdog", watchdog, os.environ)
        if (self._settings or current_settings()).mqtt_url:
            self._processes.start("mqtt", [bin_dir / "emm", "mqtt"], os.environ)

    def wait_for_ui(self, port: int) -> None:
        """Wait until the webserver answers."""
        self._wait_until(lambda: answers(f"http://127.0.0.1:{port}/server_info"))

    def discover_and_poll(self) -> tuple[pd.DataFrame, list[str]]:
        """Run both jobs once, in this process; return the stored points, and one line for each step that failed."""
        from emm_pipeline.dagster_ext.local import run_jobs  # noqa: PLC0415  # Dagster takes 2 s to import
        from emm_pipeline.definitions import build_definitions  # noqa: PLC0415

        reasons = run_jobs(build_definitions(self._settings or current_settings()), ["discovery", "poll"])
        return self.new_readings(), reasons

    def new_readings(self) -> pd.DataFrame:
        """Return each meter's latest points that were stored since the last call."""
        with open_config_database(self._settings or current_settings()) as engine:
            readings = PostgresReadingsStore(engine).latest()
        new = readings[readings["time"] > self._shown]
        if len(new):
            self._shown = new["time"].max().to_pydatetime()
        return new

    def status_changes(self) -> list[str]:
        """Return a line for each meter whose status has changed since the last call; at first, only if it is not ok."""
        settings = self._settings or current_settings()
        with open_config_database(settings) as engine:
            conditions = meter_conditions(engine, settings)
        changed = [each for each in conditions if self._states.get(each.name, State.OK) is not each.status.state]
        self._states = {each.name: each.status.state for each in conditions}
        return [
            f"{each.name}: {each.status.state}" + (f": {each.status.reason}" if each.status.reason else "")
            for each in changed
        ]

    def check(self) -> None:
        """Raise if one of the processes has ended by itself; limit the size of the log files."""
        self._processes.check()
        self._processes.rotate_logs()
        with suppress(OSError):
            rotate(self._postgres.log)

    def _end_runs(self) -> None:
        # The processes that executed these runs have ended; the next start must not wait for the runs.
        from emm_pipeline.dagster_ext.local import end_runs_in_flight  # noqa: PLC0415

        self._processes.stop()
        with suppress(ConfigDatabaseError), open_config_database(self._settings or current_settings()) as engine:
            check(engine)  # PostgreSQL itself may have ended
            end_runs_in_flight("the demo was stopped")

    def _wait_until(self, is_ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not is_ready():
            self._processes.check()
            if time.monotonic() > deadline:
                raise EmmError(f"Dagster did not start within {START_TIMEOUT_S:.0f} s; the logs are in {self.log_dir}")
            time.sleep(0.1)
