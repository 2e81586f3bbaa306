"""A user's view of EMM, with real daemon, webserver, PostgreSQL and InfluxDB, and simulated meters on sockets.

The tests share one stack and depend on their order, because a schedule ticks only once a minute.
"""

import math
import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from support.dagster_ui import SCHEDULES, wait_for
from support.influxdb import InfluxDB
from support.meters import SimulatedGateway, SimulatedUnit, SimulatorLoop, encode_value, inputs
from support.ports import free_port
from support.postgres import postgres_folder
from support.stack import Stack

from emm_pipeline.fleet import DataType
from emm_pipeline.stores.outbox.folder import Outbox
from emm_pipeline.stores.points import PointBatch

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(240)]

TICK_TIMEOUT_S = 150
"""Two ticks and a run, with room for a busy machine."""

VALUES = {0: 230.25, 2: 231.5, 52: 1234.0}
"""Register address to value of every simulated meter."""


def meter_registers() -> dict[tuple[int, int], int]:
    words: dict[tuple[int, int], int] = {(4, address): 0 for address in range(80)}
    for address, value in VALUES.items():
        words |= inputs(address, encode_value(value, DataType.FLOAT))
    return words


class Meters:
    """Gateways by meter id, each on a port of its own, each with one unit."""

    def __init__(self, loop: SimulatorLoop) -> None:
        self._loop = loop
        self.gateways: dict[int, SimulatedGateway] = {}

    def on(self, id_: int, port: int = 0) -> SimulatedGateway:
        gateway = SimulatedGateway({1: SimulatedUnit(meter_registers())}, loop=self._loop, port=port)
        self.gateways[id_] = gateway.__enter__()
        return gateway

    def off(self, id_: int) -> int:
        gateway = self.gateways.pop(id_)
        gateway.stop()
        return gateway.port


@pytest.fixture(scope="module")
def meters(simulator_loop: SimulatorLoop) -> Iterator[Meters]:
    meters = Meters(simulator_loop)
    yield meters
    for id_ in list(meters.gateways):
        meters.off(id_)


@pytest.fixture(scope="module")
def stack(influxdb: InfluxDB) -> Iterator[Stack]:
    bucket = influxdb.create_database("end_to_end")
    environment = {
        "READINGS_STORE": "influxdb",
        "INFLUXDB_URL": influxdb.url,
        "INFLUXDB_TOKEN": influxdb.token,
        "INFLUXDB_ORG": influxdb.org,
        "INFLUXDB_BUCKET": bucket,
        # Half a minute before the poll, so that a row's way to its first point is one minute at most.
        "SCHEDULER_CRON_SECOND_TRIGGER": "30",
        "TZ": "UTC",
    }
    with postgres_folder() as folder, Stack(folder, environment) as stack:
        yield stack


@pytest.fixture(scope="module")
def points(influxdb: InfluxDB):
    """Ask for the points of a meter: a list of dicts, oldest first."""

    def ask(id_: int, measurement: str = "voltageL1", since: datetime | None = None) -> list[dict]:
        after = f"AND time > {int(since.timestamp() * 1e9)}" if since else ""
        query = f"SELECT * FROM \"{measurement}\" WHERE id = '{id_}' {after}"
        rows = influxdb.query(query, bucket="end_to_end/autogen")
        return [row | {"time": datetime.fromtimestamp(row["time"] / 1000, UTC)} for row in rows]

    return ask


def test_both_schedules_run_from_the_start_and_the_first_tick_without_meters_polls_nothing(stack):
    assert stack.ui.schedules() == dict.fromkeys(SCHEDULES, "RUNNING")
    assert stack.ui.partitions()["all"] == set()


def test_rows_in_the_database_become_points_with_the_right_values_tags_and_times(stack, meters, points):
    began = datetime.now(UTC)
    for id_, description in ((1, "mains = main, 1"), (2, None), (5, "stays")):
        stack.add_meter(id_, meters.on(id_).port, description=description)
    stack.ui.wait_for_run(stack.ui.launch("discovery"))
    assert stack.ui.partitions()["all"] == {"1", "2", "5"}

    wait_for("the scheduled poll's first points", lambda: points(2, "emm_poll"), TICK_TIMEOUT_S)
    (voltage,) = points(1, "voltageL1")[:1]
    (power,) = points(1, "activePower")[:1]
    assert (voltage["value"], power["value"]) == (VALUES[0], VALUES[52])
    assert (voltage["id"], voltage["description"], voltage["dataunit"]) == ("1", "mains = main, 1", "V")
    assert power.get("dataunit") is None, "a unit that is null is no tag"
    assert points(2)[0].get("description") is None
    assert voltage["time"] == power["time"], "one timestamp per meter and sample"
    read_at = voltage["time"]
    assert began < read_at <= datetime.now(UTC)

    (record,) = points(1, "emm_poll")[:1]
    assert (record["ok"], record["points"], record["requests"]) == (1, 3, 2)
    assert record["latency_ms"] > 0
    runs = [stack.ui.wait_for_run(run["runId"]) for run in stack.ui.runs() if run["jobName"] == "poll"]
    assert runs[0]["status"] == "SUCCESS"
    assert any(run["startTime"] <= read_at.timestamp() <= run["endTime"] for run in runs), "stamped when it was read"
    assert stack.ui.partitions()["materialized"] == {"1", "2", "5"}


LATE_METER = 77
LATE_HOUR = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)


def test_readings_of_an_outage_of_the_store_wait_in_the_outbox(stack):
    """The last test but one looks for the energy of their hour."""
    first = round(LATE_HOUR.timestamp() * 1000) - 600_000
    names = ("time", "id", "description", "measurement", "unit", "value")
    rows = [(first + 600_000 * n, LATE_METER, "late", "importActiveEnergy", "kWh", 100.0 + n) for n in range(9)]
    points = PointBatch.of([dict(zip(names, row, strict=True)) for row in rows])
    Outbox(stack.settings.outbox_folder, 10**9).put(points, LATE_HOUR, "outage").close()


def test_an_added_row_is_polled_a_removed_one_no_more_and_a_dead_meter_fails_alone(stack, meters, points):
    began = datetime.now(UTC)
    closed = free_port()
    stack.add_meter(3, meters.on(3).port)
    stack.add_meter(4, closed, description="dead")
    stack.sql("DELETE FROM energy_meters WHERE id = 2")
    wait_for("points of the added meter", lambda: points(3, since=began), TICK_TIMEOUT_S)

    failed = wait_for(
        "the failed poll", lambda: [r for r in stack.ui.runs(statuses=["FAILURE"]) if r["jobName"] == "poll"]
    )
    reason = stack.ui.failure(failed[0]["runId"])
    assert "meter 4 (dead)" in reason
    assert f"127.0.0.1:{closed}" in reason
    assert "refused" in reason
    partitions = stack.ui.partitions()
    assert partitions["failed"] == {"4"}
    assert partitions["all"] == {"1", "3", "4", "5"}
    assert not points(4)
    (record,) = points(4, "emm_poll")[:1]
    assert record["ok"] == 0
    assert "refused" in record["error"]
    polled = points(3, since=began)[0]["time"]
    assert points(5, since=polled - timedelta(seconds=20)), "the others were read in the same poll"
    assert not points(2, since=polled - timedelta(seconds=20)), "the removed one was not"


def test_a_schedule_can_be_switched_off(stack):
    stack.ui.toggle("poll_schedule", on=False)
    assert stack.ui.schedules()["poll_schedule"] == "STOPPED"
    wait_for("polls in progress to end", lambda: not polls_in_flight(stack))


def polls_in_flight(stack: Stack) -> list:
    statuses = ["QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING"]
    return stack.ui.runs(statuses=statuses, pipelineName="poll")


def poll_by_hand(stack: Stack) -> dict:
    return stack.ui.wait_for_run(stack.ui.launch("poll"))


def test_a_backfill_of_two_scattered_failed_partitions_polls_just_those_and_clears_them(stack, meters, points):
    closed = free_port()
    stack.add_meter(6, closed)
    stack.ui.wait_for_run(stack.ui.launch("discovery"))
    assert poll_by_hand(stack)["status"] == "FAILURE"
    assert stack.ui.partitions()["failed"] == {"4", "6"}

    with stack.engine.connect() as connection:
        (port_of_4,) = connection.exec_driver_sql("SELECT port FROM energy_meters WHERE id = 4").one()
    meters.on(4, port_of_4)
    meters.on(6, closed)
    began = datetime.now(UTC)
    assert stack.ui.wait_for_backfill(stack.ui.backfill(["4", "6"])).startswith("COMPLETED")
    partitions = stack.ui.partitions()
    assert partitions["failed"] == set()
    assert {"4", "6"} <= partitions["materialized"]
    assert points(4, since=began)
    assert points(6, since=began)
    assert not points(5, since=began), "no other meter was polled"


@pytest.mark.parametrize("strategy", ["FROM_FAILURE", "ALL_STEPS"])
def test_re_executing_a_failed_poll_polls_its_failed_meters_again(stack, meters, points, strategy):
    port = meters.off(4)
    failed = poll_by_hand(stack)
    assert failed["status"] == "FAILURE"
    assert stack.ui.partitions()["failed"] == {"4"}

    meters.on(4, port)
    began = datetime.now(UTC)
    again = stack.ui.wait_for_run(stack.ui.re_execute(failed["runId"], strategy))
    assert again["status"] == "SUCCESS"
    assert again["parentRunId"] == failed["runId"]
    assert stack.ui.partitions()["failed"] == set()
    assert points(4, since=began)
    assert bool(points(5, since=began)) == (strategy == "ALL_STEPS")


def test_re_executing_from_failure_fails_again_while_the_meter_is_dead(stack, meters):
    port = meters.off(4)
    failed = poll_by_hand(stack)
    again = stack.ui.wait_for_run(stack.ui.re_execute(failed["runId"]))
    assert again["status"] == "FAILURE"
    assert "1 of 1 meters failed: meter 4 (dead)" in stack.ui.failure(again["runId"])
    meters.on(4, port)
    third = stack.ui.wait_for_run(stack.ui.re_execute(again["runId"]))
    assert third["status"] == "SUCCESS"
    assert stack.ui.partitions()["failed"] == set()


def test_a_poll_that_found_no_database_polls_all_its_meters_when_it_is_executed_again(stack, points):
    stack.sql("ALTER TABLE energy_meters RENAME TO hidden")
    failed = poll_by_hand(stack)
    stack.sql("ALTER TABLE hidden RENAME TO energy_meters")
    assert failed["status"] == "FAILURE"
    began = datetime.now(UTC)
    assert stack.ui.wait_for_run(stack.ui.re_execute(failed["runId"]))["status"] == "SUCCESS"
    assert all(points(id_, since=began) for id_ in (1, 3, 4, 5))


def test_a_poll_that_was_killed_while_it_read_reads_all_its_meters_when_it_is_executed_again(stack, meters, points):
    slow = meters.gateways[5]
    slow.units[1].delay_s = 2.0
    asked = slow.requests
    run_id = stack.ui.launch("poll")
    wait_for("the slow meter to be asked", lambda: slow.requests > asked)
    os.kill(stack.ui.process_of(run_id), signal.SIGKILL)
    assert stack.ui.wait_for_run(run_id, 120)["status"] == "FAILURE"
    slow.units[1].delay_s = 0.0
    began = datetime.now(UTC)
    again = stack.ui.wait_for_run(stack.ui.re_execute(run_id))
    assert again["status"] == "SUCCESS", stack.ui.failure(again["runId"])
    assert all(points(id_, since=began) for id_ in (1, 3, 4, 5))


def test_one_partition_is_polled_by_hand(stack, points):
    began = datetime.now(UTC)
    assert stack.ui.wait_for_run(stack.ui.materialize("5"))["status"] == "SUCCESS"
    assert points(5, since=began)
    assert not points(1, since=began)


def test_a_meter_removed_while_it_is_polled_and_one_added_again_harm_no_other(stack, meters, points):
    meters.gateways[6].units[1].delay_s = 2.0
    began = datetime.now(UTC)
    run = stack.ui.launch("poll")
    gateway = meters.gateways[6]
    asked = gateway.requests
    wait_for("the slow meter to be asked", lambda: gateway.requests > asked)
    stack.sql("DELETE FROM energy_meters WHERE id = 6")
    stack.ui.wait_for_run(stack.ui.launch("discovery"))
    ended = stack.ui.wait_for_run(run)
    assert ended["status"] == "SUCCESS", stack.ui.failure(run)
    assert all(points(id_, since=began) for id_ in (1, 3, 4, 5, 6)), "what was read is kept"
    wait_for("its partition to go", lambda: "6" not in stack.ui.partitions()["all"])

    gateway.units[1].delay_s = 0.0
    stack.add_meter(6, gateway.port)
    stack.ui.wait_for_run(stack.ui.launch("discovery"))
    began = datetime.now(UTC)
    assert poll_by_hand(stack)["status"] == "SUCCESS"
    assert all(points(id_, since=began) for id_ in (1, 3, 4, 5, 6))
    assert stack.ui.partitions()["failed"] == set()


def test_the_energy_of_the_hour_of_an_outage_was_computed_by_itself(stack, points):
    rows = wait_for("the energy of the late readings", lambda: points(LATE_METER, "emm_energy"), TICK_TIMEOUT_S)
    (row,) = [row for row in rows if row["time"] == LATE_HOUR and row["period"] == "hour"]
    assert (row["energy"], row["readings"], row["dataunit"]) == (6.0, 6, "kWh")
    assert f"{LATE_HOUR:%Y-%m-%d-%H}:00" in stack.ui.partitions("energy_hourly")["materialized"]


def test_postgresql_restarted_across_a_tick_costs_at_most_that_tick(stack, points):
    stack.ui.toggle("poll_schedule", on=True)
    now = datetime.now(UTC)
    tick = datetime.fromtimestamp(math.ceil((now.timestamp() + 4) / 60) * 60, UTC)
    time.sleep((tick - timedelta(seconds=3) - now).total_seconds())
    stack.postgres.stop()
    wait_for("the tick to pass", lambda: datetime.now(UTC) > tick + timedelta(seconds=3))
    stack.postgres.start()
    back = datetime.now(UTC)

    wait_for("the next tick's points", lambda: points(1, since=tick + timedelta(seconds=60)), TICK_TIMEOUT_S)
    wait_for("polls to end", lambda: not polls_in_flight(stack))
    assert stack.ui.partitions()["failed"] == set()
    run = next(r for r in stack.ui.runs() if r["jobName"] == "poll")
    assert run["status"] == "SUCCESS"
    assert run["creationTime"] > back.timestamp()
