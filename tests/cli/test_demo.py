"""The demo with real processes and real signals, which must leave nothing behind."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from support.dagster_ui import SCHEDULES, DagsterUI, wait_for
from support.demo import locks_in, processes_of
from support.ports import free_port
from support.postgres import postgres_folder

from emm_pipeline.cli.demo.processes import listens
from emm_pipeline.embedded_postgres import EmbeddedPostgres
from emm_pipeline.settings import load_settings

EMM = Path(sys.executable).with_name("emm")

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def data_dir() -> Iterator[Path]:
    with postgres_folder() as folder:
        yield folder / "demo"


def demo(data_dir: Path, *options: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [EMM, "demo", "--data-dir", data_dir, "--web-port", str(free_port()), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **environment},
        start_new_session=True,
    )


def reading_in(output: str) -> list[str]:
    """Return the words of the one row of readings in a demo's output."""
    (row,) = [line for line in output.splitlines() if "test_measurement" in line]
    return row.split()


def test_once_prints_a_reading_and_exits_with_0(data_dir):
    process = demo(data_dir, "--once")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    row = reading_in(output)
    assert row[:3] == ["0", "test_energy_meter", "test_measurement"]
    assert "test_u" in row
    assert not processes_of(data_dir)


def test_a_signal_ends_every_process_and_leaves_no_lock_so_that_the_demo_can_start_again(data_dir):
    """SIGTERM; that Ctrl-C does the same is in browser/test_web_page.py."""
    port = free_port()
    process = demo(data_dir, "--port", str(port))
    try:
        ui = DagsterUI(f"http://127.0.0.1:{port}")
        wait_for("Dagster's UI", lambda: process.poll() is not None or listens(port), 120)
        wait_for("its code", lambda: ui.schedules() == dict.fromkeys(SCHEDULES, "RUNNING"))
        assert ui.partitions()["materialized"] == {"0"}
        assert len(processes_of(data_dir)) > 4
    finally:
        process.terminate()
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert f"http://127.0.0.1:{port}" in output
    assert not processes_of(data_dir)
    assert locks_in(data_dir) == []


def change(data_dir: Path, statement: str, **values: object) -> None:
    """Change the demo's database, as a person does between two demos."""
    settings = load_settings(data_dir / "demo.env")
    with EmbeddedPostgres(data_dir / "postgres"):
        engine = create_engine(settings.config_database_url)
        with engine.begin() as connection:
            connection.execute(text(statement), values)
        engine.dispose()


def test_another_demo_keeps_meters_that_a_person_added_and_a_dead_one_does_not_affect_the_other(data_dir):
    closed = free_port()
    insert = "INSERT INTO energy_meters VALUES (1, '127.0.0.1', :port, 1, 'virtual_modbustcp', NULL)"
    change(data_dir, insert, port=closed)
    process = demo(data_dir, "--once")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, "meter 0 was stored"
    assert reading_in(output)[:3] == ["0", "test_energy_meter", "test_measurement"]
    assert f"127.0.0.1:{closed}" in output
    assert "refused" in output


def test_when_nothing_was_stored_it_says_why_and_exits_with_1(data_dir):
    change(data_dir, "UPDATE energy_meters SET type = 'no_such_type'")
    process = demo(data_dir, "--once")
    output, _ = process.communicate(timeout=120)
    change(data_dir, "UPDATE energy_meters SET type = 'virtual_modbustcp'")
    assert process.returncode == 1
    assert "nothing was stored" in output
    assert "no_such_type" in output
    assert "Traceback" not in output


def test_postgresql_killed_under_the_demo_ends_it_with_a_clear_error_and_nothing_left(data_dir):
    process = demo(data_dir, "--port", str(port := free_port()))
    try:
        ui = DagsterUI(f"http://127.0.0.1:{port}")
        wait_for("Dagster's UI", lambda: process.poll() is not None or listens(port), 120)
        wait_for("its code", ui.schedules)
        EmbeddedPostgres(data_dir / "postgres").kill()
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 1
    assert "PostgreSQL" in output or "postgres" in output
    assert "Traceback" not in output
    assert not processes_of(data_dir)


def test_a_port_in_use_is_reported_with_what_to_do(data_dir):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = demo(data_dir, "--port", str(taken.getsockname()[1]))
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "--port" in output
    assert "Traceback" not in output


def test_a_wrong_setting_stops_it_with_the_name_of_the_variable(data_dir):
    process = demo(data_dir.with_name("other"), "--once", INFLUX_UPDATER_CRON_SECOND_TRIGGER="61")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "INFLUX_UPDATER_CRON_SECOND_TRIGGER='61'" in output
    assert "Traceback" not in output
