"""`emm status` with the real processes: all is fine, and each failure is reported separately.

The daemon, code server, webserver, PostgreSQL and InfluxDB are real. Each test continues where the one before it ended.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import create_engine, text
from support.command_line import CommandLine
from support.dagster_ui import wait_for
from support.disks import SmallDisk, small_disk
from support.frames import points, reading, readings
from support.influxdb import InfluxDB
from support.meters import SimulatedGateway, SimulatedUnit, SimulatorLoop, encode_value, inputs
from support.postgres import postgres_folder
from support.stack import Stack

from emm_pipeline.condition.parts import parts_seen_by_the_watchdog
from emm_pipeline.condition.polling import polling_issues
from emm_pipeline.fleet import DataType
from emm_pipeline.opening import open_outbox

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(300)]

MAX_RUNS = 8
"""`max_concurrent_runs` in dagster.yaml."""


class StackWithCommands(Stack):
    """A stack and the command line with its settings."""

    emm: CommandLine


def unit(**values: float) -> SimulatedUnit:
    words = {(4, address): 0 for address in range(100)}
    for address, value in ({0: 230.25, 2: 231.5, 52: 1234.0, 72: 500.0}).items():
        words |= inputs(address, encode_value(value, DataType.FLOAT))
    return SimulatedUnit(words)


@pytest.fixture(scope="module")
def gateways(simulator_loop: SimulatorLoop) -> Iterator[list[SimulatedGateway]]:
    """A gateway of meters 1 and 2, and one of meters 3 and 4."""
    with ExitStack() as started:
        made = [SimulatedGateway({1: unit(), 2: unit()}, loop=simulator_loop) for _ in range(2)]
        yield [started.enter_context(gateway) for gateway in made]


@pytest.fixture(scope="module")
def disk() -> Iterator[SmallDisk]:
    with postgres_folder() as folder, small_disk(folder / "disk", 700) as disk:
        yield disk


@pytest.fixture(scope="module")
def stack(
    influxdb: InfluxDB, gateways: list[SimulatedGateway], disk: SmallDisk, command_server: Path
) -> Iterator[StackWithCommands]:
    environment = {
        "READINGS_STORE": "influxdb",
        "INFLUXDB_URL": influxdb.url,
        "INFLUXDB_TOKEN": influxdb.token,
        "INFLUXDB_ORG": influxdb.org,
        "INFLUXDB_BUCKET": influxdb.create_database("status"),
        "OUTBOX_MAX_MB": "1",
        "TZ": "UTC",
        "INFLUX_UPDATER_CRON_SECOND_TRIGGER": "0",
    }
    with postgres_folder() as folder, StackWithCommands(folder, environment, data_disk=disk.folder) as stack:
        stack.emm = CommandLine(stack.environment, command_server)
        stack.sql("INSERT INTO registers VALUES ('sdm630', 72, 'importActiveEnergy', 'kWh', 3, 4, 2, 2)")
        for id_, gateway, unit_id in ((1, 0, 1), (2, 0, 2), (3, 1, 1), (4, 1, 2)):
            stack.add_meter(id_, gateways[gateway].port, unit_id=unit_id)
        yield stack


def status(stack: StackWithCommands) -> tuple[int, dict[str, dict], dict[int, dict] | None]:
    """Return the exit code, the parts that are not ok, and the meters by id."""
    done = stack.emm("status", "--json")
    assert "Traceback" not in done.stderr, done.stderr
    found = json.loads(done.stdout)
    parts = {part["name"]: part for part in found["parts"] if part["status"] != "ok"}
    meters = None if found["meters"] is None else {meter["id"]: meter for meter in found["meters"]}
    return done.returncode, parts, meters


def screen(stack: StackWithCommands) -> str:
    """Return the text of `emm status`, with its lines joined."""
    return " ".join(stack.emm("status").stdout.split())


def health(stack: Stack) -> str:
    """Return why the health check of the watchdog fails; an empty text if it does not."""
    now = datetime.now(UTC)
    return "; ".join(polling_issues(stack.settings, parts_seen_by_the_watchdog(stack.settings, now), now))


def states(meters: dict[int, dict] | None) -> dict[int, str]:
    return {id_: meter["status"] for id_, meter in (meters or {}).items()}


def others(meters: dict[int, dict] | None) -> dict[int, str]:
    """Return the states of the meters that are not ok."""
    return {id_: state for id_, state in states(meters).items() if state != "ok"}


def poll(stack: StackWithCommands) -> None:
    """Poll all meters now, as a person does."""
    stack.ui.wait_for_run(stack.ui.launch("poll"), 120)


def in_dagsters_database(stack: StackWithCommands, statement: str) -> Any:
    engine = create_engine(stack.settings.dagster_database_url)
    with engine.begin() as connection:
        result = connection.execute(text(statement))
        found = result.scalar() if result.returns_rows else None
    engine.dispose()
    return found


def is_fine(stack: StackWithCommands) -> Callable[[], bool]:
    def look() -> bool:
        code, parts, meters = status(stack)
        return code == 0 and not parts and set(states(meters).values()) == {"ok"}

    return look


def test_all_is_fine_once_every_meter_was_polled(stack):
    wait_for("everything to be fine", is_fine(stack), 150, 3)
    assert len(states(status(stack)[2])) == 4
    assert "everything is fine" in screen(stack)
    assert health(stack) == ""
    # Later tests poll by hand, so that no tick is between a failure and its check.
    stack.ui.toggle("poll_schedule", on=False)


def test_a_schedule_that_is_switched_off_is_reported_with_what_to_do(stack):
    code, parts, _ = status(stack)
    assert code == 2
    assert list(parts) == ["polling"]
    assert parts["polling"]["status"] == "stale"
    assert "switched off" in parts["polling"]["reason"]
    assert "switch poll_schedule on" in parts["polling"]["what_to_do"]
    assert health(stack) == "polling: poll_schedule is switched off"


def test_meters_that_no_run_polls_make_the_health_check_fail(stack):
    hour = "interval '1 hour'"
    stack.sql(f"UPDATE meter_status SET polled_at = polled_at - {hour}, first_seen_at = first_seen_at - {hour}")
    assert "polls: no meter was polled since" in health(stack)
    stack.sql(f"UPDATE meter_status SET polled_at = polled_at + {hour}, first_seen_at = first_seen_at + {hour}")


def test_a_dead_meter_is_failing_and_the_others_are_ok(stack, gateways):
    gateways[0].units[2].exception = 4
    poll(stack)
    code, parts, meters = status(stack)
    assert (code, list(parts)) == (2, ["polling"])
    assert others(meters) == {2: "failing"}
    assert "device failure" in meters[2]["reason"]
    assert meters[2]["since"]
    gateways[0].units[2].exception = 0


def test_a_dead_gateway_is_one_entry_that_names_it_and_its_meters(stack, gateways):
    gateways[1].stop()
    poll(stack)
    _, parts, meters = status(stack)
    assert list(parts) == ["polling"]
    assert others(meters) == {3: "failing", 4: "failing"}
    for id_ in (3, 4):
        assert f"127.0.0.1:{gateways[1].port}" in meters[id_]["reason"]
        assert "refused" in meters[id_]["reason"]
    assert "FAILING 2 meters (3, 4)" in screen(stack)
    gateways[1].start()
    poll(stack)
    assert others(status(stack)[2]) == {}


def test_a_register_row_that_cannot_be_used_makes_its_meters_degraded(stack):
    stack.sql("ALTER TABLE registers DROP CONSTRAINT registers_data_type")
    stack.sql("INSERT INTO registers VALUES ('sdm630', 30, 'currentL3', 'A', 9000, 4, 2, 2)")
    poll(stack)
    _, _, meters = status(stack)
    assert others(meters) == dict.fromkeys((1, 2, 3, 4), "degraded")
    assert "currentL3" in meters[1]["reason"]
    assert "correct the row in the table registers" in meters[1]["what_to_do"]
    stack.sql("DELETE FROM registers WHERE data_type = 9000")


def test_a_register_that_a_device_refuses_makes_this_meter_degraded(stack, gateways):
    stack.sql("INSERT INTO registers VALUES ('sdm630', 30, 'currentL3', 'A', 3, 4, 2, 2)")
    gateways[0].units[2].exceptions = {30: 2, 31: 2}
    poll(stack)
    _, _, meters = status(stack)
    assert others(meters) == {2: "degraded"}
    assert "currentL3: the device refuses it with exception 2" in meters[2]["reason"]
    assert "emm registers accept-absent" in meters[2]["what_to_do"]
    stack.sql("DELETE FROM registers WHERE measurement_name = 'currentL3'")
    gateways[0].units[2].exceptions = {}


def test_an_implausible_value_and_a_counter_that_falls_make_their_meters_degraded(stack, gateways):
    gateways[0].units[1].registers |= inputs(0, encode_value(4e9, DataType.FLOAT))
    gateways[0].units[2].registers |= inputs(72, encode_value(20.0, DataType.FLOAT))
    poll(stack)
    _, _, meters = status(stack)
    assert others(meters) == {1: "degraded", 2: "degraded"}
    assert "voltageL1: the value 4e+09 V is outside of" in meters[1]["reason"]
    assert "importActiveEnergy: the counter fell from 500 to 20 kWh" in meters[2]["reason"]
    assert meters[2]["since"]
    for unit_ in gateways[0].units.values():
        unit_.registers |= unit().registers
    poll(stack)
    assert others(status(stack)[2]) == {}


def test_runs_that_wait_in_the_queue_are_reported(stack, gateways):
    """All places for runs are taken by runs that wait for a slow meter."""
    stack.sql("INSERT INTO meter_types (type, timeout_s) VALUES ('sdm630', 60)")
    for unit_ in gateways[0].units.values():
        unit_.delay_s = 50.0
    # The runs last for 50 s: the next tick must come before they end.
    wait_for("a time before a tick", lambda: 15 <= datetime.now(UTC).second < 30, 60, 0.2)
    for _ in range(MAX_RUNS):
        stack.ui.launch("poll")
    wait_for("the runs to start", lambda: len(stack.ui.runs(statuses=["STARTED"], pipelineName="poll")) >= MAX_RUNS)
    stack.ui.toggle("poll_schedule", on=True)
    of_the_schedule = [{"key": ".dagster/emm.kind", "value": "scheduled poll"}]
    wait_for("a tick", lambda: stack.ui.runs(statuses=["QUEUED"], tags=of_the_schedule), 90)
    assert status(stack)[1] == {}, "a run may wait for a moment"
    in_dagsters_database(
        stack,
        "UPDATE runs SET create_timestamp = create_timestamp - interval '4 minutes' WHERE status = 'QUEUED'",
    )
    code, parts, _ = status(stack)
    assert code == 2
    assert list(parts) == ["polling"]
    assert "wait in the queue" in parts["polling"]["reason"]
    assert parts["polling"]["since"]


def test_a_dead_code_server_is_reported(stack, gateways):
    for unit_ in gateways[0].units.values():
        unit_.delay_s = 0.0
    stack.sql("DELETE FROM meter_types")
    stack.kill("code_server")
    code, parts, _ = status(stack)
    assert code == 2
    assert "does not reply" in parts["code server"]["reason"]
    assert "code server: " in health(stack)
    stack.start_code_server()
    assert "code server" not in status(stack)[1]
    wait_for("everything to be fine again", is_fine(stack), 240, 5)
    stack.ui.toggle("poll_schedule", on=False)


def test_a_dead_daemon_is_reported_once_its_heartbeat_is_old(stack):
    assert "Dagster's daemon" not in status(stack)[1]
    stack.kill("daemon")
    in_dagsters_database(  # two minutes pass
        stack, "UPDATE daemon_heartbeats SET timestamp = timestamp - interval '2 minutes'"
    )
    code, parts, _ = status(stack)
    assert code == 2
    assert parts["Dagster's daemon"]["status"] == "stale"
    assert "Dagster's daemon: it does not run" in health(stack)
    stack.start_daemon()
    wait_for("the daemon", lambda: "Dagster's daemon" not in status(stack)[1], 90, 3)


def test_an_unavailable_store_is_reported_and_the_meters_whose_points_wait_for_it(stack, influxdb):
    influxdb.stop()
    poll(stack)
    parts = status(stack)[1]
    assert parts["readings store"]["status"] == "waiting for store"
    assert influxdb.url in parts["readings store"]["reason"]
    assert "outbox" not in parts, "points may wait for a moment"
    outbox = open_outbox(stack.settings)
    outbox.put(points(readings(reading())), datetime.now(UTC) - timedelta(minutes=5), "an-earlier-run").close()
    _, parts, meters = status(stack)
    assert parts["outbox"]["status"] == "waiting for store"
    assert others(meters) == dict.fromkeys((1, 2, 3, 4), "waiting for store")


def test_a_full_outbox_is_failing_because_the_oldest_readings_are_lost(stack):
    outbox = open_outbox(stack.settings)
    values = np.random.default_rng(1).random(20_000)
    number = 0
    while "outbox" in (parts := status(stack)[1]) and parts["outbox"]["status"] != "failing":
        rows = [reading(value=value) for value in values]
        outbox.put(points(readings(*rows)), datetime.now(UTC) - timedelta(minutes=4), f"run-{number}").close()
        number += 1
        assert number < 100
    assert parts["outbox"]["status"] == "failing"
    assert "the oldest readings are lost" in parts["outbox"]["reason"]
    assert "OUTBOX_MAX_MB" in parts["outbox"]["what_to_do"]
    assert "outbox: " in health(stack)


def test_everything_is_ok_once_the_store_has_the_points(stack, influxdb):
    influxdb.start()
    done = stack.emm("outbox", "replay")
    assert done.returncode == 0, done.stdout
    poll(stack)
    wait_for("the outbox to be empty", lambda: list(status(stack)[1]) == ["polling"], 60, 3)
    assert others(status(stack)[2]) == {}


def test_a_wrong_clock_is_reported_and_makes_every_meter_degraded(stack):
    """The clock was an hour ahead when meter 1 was read."""
    stack.sql("UPDATE meter_status SET last_read_at = last_read_at + interval '1 hour' WHERE id = 1")
    code, parts, meters = status(stack)
    assert code == 2, "the schedule is switched off"
    assert list(parts) == ["polling", "clock"]
    assert "the clock of this computer is wrong" in parts["clock"]["reason"]
    assert others(meters) == dict.fromkeys((1, 2, 3, 4), "degraded")
    stack.sql("UPDATE meter_status SET last_read_at = now() WHERE id = 1")
    assert "clock" not in status(stack)[1]


def test_a_full_disk_of_postgresql_is_distinguished_from_an_unavailable_postgresql(stack, disk):
    if not disk.can_be_filled:
        pytest.skip("only root may mount a small disk")
    for _ in range(5):
        disk.fill()
        code, parts, meters = status(stack)
        why_unhealthy = health(stack)
        disk.make_room()
        if "PostgreSQL" in status(stack)[1]:  # it has ended if it had to begin a new file of its log in the meantime
            stack.postgres.kill()
            stack.postgres.start()
        if meters is not None:
            break
    assert code == 2
    assert "No space left on device" in parts["PostgreSQL"]["reason"]
    assert "make room on PostgreSQL's disk" in parts["PostgreSQL"]["what_to_do"]
    assert meters is not None, "it can still be read"
    assert why_unhealthy.startswith("PostgreSQL: ")
    wait_for("PostgreSQL", lambda: "PostgreSQL" not in status(stack)[1], 60, 1)


def test_an_unavailable_postgresql_is_reported_before_everything_else(stack):
    stack.postgres.stop()
    code, parts, meters = status(stack)
    assert (code, meters) == (2, None)
    assert next(iter(parts)) == "PostgreSQL"
    assert "meters unknown" in screen(stack)
    assert health(stack).startswith("PostgreSQL: ")
    stack.postgres.start()
    wait_for("PostgreSQL", lambda: "PostgreSQL" not in status(stack)[1], 60, 1)
