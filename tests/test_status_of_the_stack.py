"""`emm status` with the real processes: all is fine, and each process that has failed is reported separately.

Each test continues where the one before it ended.
"""

import json
import subprocess
from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine, text
from support.command_line import EMM
from support.dagster_ui import wait_for
from support.meters import SimulatedGateway, SimulatedUnit, SimulatorLoop, encode_value, inputs
from support.postgres import postgres_folder
from support.stack import Stack

from emm_pipeline.fleet import DataType

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(300)]


def unit() -> SimulatedUnit:
    words = {(4, address): 0 for address in range(80)}
    for address, value in {0: 230.25, 2: 231.5, 52: 1234.0}.items():
        words |= inputs(address, encode_value(value, DataType.FLOAT))
    return SimulatedUnit(words)


@pytest.fixture(scope="module")
def gateway(simulator_loop: SimulatorLoop) -> Iterator[SimulatedGateway]:
    with SimulatedGateway({1: unit(), 2: unit()}, loop=simulator_loop) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def stack(gateway: SimulatedGateway) -> Iterator[Stack]:
    environment = {"READINGS_STORE": "postgresql", "TZ": "UTC", "INFLUX_UPDATER_CRON_SECOND_TRIGGER": "0"}
    with postgres_folder() as folder, Stack(folder, environment) as stack:
        stack.add_meter(1, gateway.port)
        stack.add_meter(2, gateway.port, unit_id=2, description="cellar")
        yield stack


def status(stack: Stack) -> tuple[int, dict[str, dict], dict[int, dict] | None]:
    """Return the exit code, the parts that are not ok, and the meters by id."""
    done = subprocess.run(
        [EMM, "status", "--json"], env=stack.environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert "Traceback" not in done.stderr, done.stderr
    found = json.loads(done.stdout)
    parts = {part["name"]: part for part in found["parts"] if part["status"] != "ok"}
    meters = None if found["meters"] is None else {meter["id"]: meter for meter in found["meters"]}
    return done.returncode, parts, meters


def states(meters: dict[int, dict] | None) -> dict[int, str]:
    return {id_: meter["status"] for id_, meter in (meters or {}).items()}


def test_all_is_fine_once_both_meters_were_polled(stack):
    def is_fine() -> bool:
        code, _, meters = status(stack)
        return code == 0 and states(meters) == {1: "ok", 2: "ok"}

    wait_for("everything to be fine", is_fine, 150, 3)


def test_a_dead_meter_is_failing_and_the_other_is_ok(stack, gateway):
    gateway.units[2].exception = 4
    stack.ui.wait_for_run(stack.ui.launch("poll"))
    code, parts, meters = status(stack)
    assert (code, parts) == (2, {})
    assert states(meters) == {1: "ok", 2: "failing"}
    assert "device failure" in meters[2]["reason"]
    assert meters[2]["since"]


def test_a_schedule_that_is_switched_off_is_reported_with_what_to_do(stack):
    stack.ui.toggle("poll_schedule", on=False)
    code, parts, _ = status(stack)
    assert code == 2
    assert list(parts) == ["polling"]
    assert parts["polling"]["status"] == "stale"
    assert "switched off" in parts["polling"]["reason"]
    assert "switch poll_schedule on" in parts["polling"]["what_to_do"]


def test_a_dead_code_server_is_reported(stack):
    stack.kill("code_server")
    _, parts, _ = status(stack)
    assert "code server" in parts
    assert "does not reply" in parts["code server"]["reason"]
    stack.start_code_server()
    assert "code server" not in status(stack)[1]


def test_a_dead_daemon_is_reported_once_its_heartbeat_is_old(stack):
    assert "Dagster's daemon" not in status(stack)[1]
    stack.kill("daemon")
    dagster = create_engine(stack.settings.dagster_database_url)
    with dagster.begin() as connection:  # two minutes pass
        connection.execute(text("UPDATE daemon_heartbeats SET timestamp = timestamp - interval '2 minutes'"))
    dagster.dispose()
    code, parts, _ = status(stack)
    assert code == 2
    assert parts["Dagster's daemon"]["status"] == "stale"
    stack.start_daemon()
    wait_for("the daemon", lambda: "Dagster's daemon" not in status(stack)[1], 90, 3)


def test_an_unavailable_postgresql_is_reported_before_everything_else(stack):
    stack.postgres.stop()
    code, parts, meters = status(stack)
    assert (code, meters) == (2, None)
    assert next(iter(parts)) == "PostgreSQL"
    stack.postgres.start()
    wait_for("PostgreSQL", lambda: "PostgreSQL" not in status(stack)[1], 60, 1)
