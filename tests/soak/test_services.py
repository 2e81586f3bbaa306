"""EMM as services of a running systemd: they start in order, poll, restart when they are killed, and are removed."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import Row
from support.dagster_ui import wait_for
from support.postgres import INIT_SQL, administrate
from support.systemd import RunningSystemd, running_systemd, why_not

from emm_pipeline.config_db.engine import create_config_engine
from emm_pipeline.embedded_postgres import EmbeddedPostgres

EMM = Path(sys.executable).with_name("emm")
SERVICES = [f"emm-{name}.service" for name in ("code-server", "daemon", "webserver", "watchdog", "web", "backup")]
PORT = 5020

pytestmark = [pytest.mark.soak]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that services see: they have a /tmp of their own."""
    if reason := why_not():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="emm-test-", dir="/opt"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def postgres(folder) -> Iterator[EmbeddedPostgres]:
    """PostgreSQL with the example meter, which listens on this machine."""
    with EmbeddedPostgres(folder / "postgres", durable=False) as server:
        administrate(server, "CREATE DATABASE emm")
        sql(server, INIT_SQL)
        sql(server, f"UPDATE energy_meters SET host = '127.0.0.1', port = {PORT}")
        yield server
        server.kill()


@pytest.fixture
def systemd(folder, postgres) -> Iterator[RunningSystemd]:
    (folder / "systemd").mkdir()
    with running_systemd(folder / "systemd") as systemd:
        yield systemd


@pytest.fixture
def service(systemd):
    """Run `emm service …`."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return systemd.run(EMM, "service", *arguments)

    return run


def test_installed_services_poll_restart_after_a_kill_and_leave_nothing_when_removed(
    systemd, service, postgres, folder
):
    written = service("install", "--run-as", "root")
    assert written.returncode == 0, written.stderr
    backups = folder / "backups"
    given = systemd.settings.read_text().replace("POSTGRES_HOST=localhost", f"POSTGRES_HOST={postgres.socket_dir}")
    given = given.replace("POSTGRES_USER=emm", "POSTGRES_USER=postgres").replace("=influxdb\n", "=postgresql\n")
    systemd.settings.write_text(f"{given}BACKUP_DIR={backups}\n")
    started = service("install", "--run-as", "root")
    assert started.returncode == 0, started.stdout + started.stderr

    emm = [EMM, "--env-file", "/etc/emm/emm.env"]
    meter = subprocess.Popen(
        systemd.command(sys.executable, "-m", "virtual_modbustcp_server.test", "--host", "127.0.0.1", "--port", PORT)
    )
    try:
        wait_for("the services to run", lambda: all(map(systemd.is_active, SERVICES)))
        assert service("status").returncode == 0
        wait_for("the tables", lambda: systemd.run(*emm, "db", "check").returncode == 0)
        wait_for("a reading", lambda: count(postgres) > 0, 240)
        wait_for("the daily backup", lambda: list(backups.glob("emm-*.zip")))
        wait_for("the status to be ok", lambda: systemd.run(*emm, "status").returncode == 0, 120)

        known = {unit: systemd.main_pid(unit) for unit in SERVICES}
        systemd.run("systemctl", "kill", "--signal=SIGKILL", *SERVICES)
        for unit in SERVICES:
            wait_for(f"{unit} to be restarted", lambda unit=unit: systemd.main_pid(unit) not in {0, known[unit]})
        before = count(postgres)
        wait_for("a reading after the restarts", lambda: count(postgres) > before, 240)
        assert "poll_schedule" in service("logs", "daemon", "--lines", "1000").stdout
        assert "Started" in service("logs").stdout

        assert systemd.run("systemctl", "stop", "emm.target").returncode == 0
        wait_for("all parts of the target to stop", lambda: not any(map(systemd.is_active, SERVICES)))
        assert systemd.run("systemctl", "start", "emm.target").returncode == 0
        wait_for("the services to run again", lambda: all(map(systemd.is_active, SERVICES)))
        removed = service("remove")
        assert removed.returncode == 0, removed.stderr
        assert not any(map(systemd.is_active, SERVICES))
        assert list((systemd.folder / "system").rglob("emm*")) == []
        assert systemd.settings.exists()
    finally:
        meter.terminate()
        meter.wait()


def count(postgres: EmbeddedPostgres) -> int:
    return int(sql(postgres, "SELECT count(*) FROM readings")[0][0])


def sql(postgres: EmbeddedPostgres, statement: str) -> Sequence[Row]:
    engine = create_config_engine(postgres.url("emm"))
    try:
        with engine.begin() as connection:
            result = connection.exec_driver_sql(statement)
            return result.all() if result.returns_rows else []
    finally:
        engine.dispose()
