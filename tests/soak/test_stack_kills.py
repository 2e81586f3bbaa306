"""EMM polls without a pause while one of its processes or servers is killed repeatedly."""

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from soak.judge import COPY, COUNTER, CountingUnit, Judge
from soak.table import publish
from sqlalchemy import create_engine, text
from support.dagster_ui import wait_for
from support.influxdb import InfluxDB
from support.meters import SimulatedGateway, SimulatorLoop
from support.postgres import postgres_folder
from support.stack import Stack

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1500)]

METERS = 20
KILLS = 11
BUCKET = "soak_stack"
RECORDER = Path(__file__).parent / "recorder"
ENDED_WITHIN_S = 180
"""A killed run must be found within two minutes; the rest of this time is for restarting the killed process."""
DRAINED_WITHIN_S = 300
"""The sensor checks every 30 s, and pauses for two minutes after a failed replay."""


@dataclass
class Scene:
    """The stack and servers that are killed, and the judge."""

    stack: Stack
    influxdb: InfluxDB
    judge: Judge
    chance: random.Random

    def polls(self) -> dict[str, str]:
        """Return the status of all poll runs by run id."""
        engine = create_engine(self.stack.settings.dagster_database_url)
        with engine.connect() as connection:
            rows = connection.execute(text("SELECT run_id, status FROM runs WHERE pipeline_name = 'poll'"))
            statuses = {row.run_id: row.status for row in rows}
        engine.dispose()
        return statuses

    def poll_without_a_pause(self, stop: threading.Event) -> None:
        """Launch one poll after the other, as Dagster's page does, even while a part is unavailable."""
        while not stop.is_set():
            with suppress(OSError, AssertionError, KeyError, TypeError):
                self.stack.ui.wait_for_run(self.stack.ui.launch("poll"), timeout_s=12)
            time.sleep(0.2)


@pytest.fixture(scope="module")
def scene(influxdb: InfluxDB) -> Iterator[Scene]:
    units = {id_: CountingUnit(delay_s=0.02) for id_ in range(1, METERS + 1)}
    with SimulatorLoop() as loop, postgres_folder() as folder:
        gateways = [
            SimulatedGateway({id_: unit for id_, unit in units.items() if id_ % 4 == rest}, loop=loop)
            for rest in range(4)
        ]
        environment = {
            "READINGS_STORE": "influxdb",
            "INFLUXDB_URL": influxdb.url,
            "INFLUXDB_TOKEN": influxdb.token,
            "INFLUXDB_ORG": influxdb.org,
            "INFLUXDB_BUCKET": influxdb.create_database(BUCKET),
            "OUTBOX_ARCHIVE": str(folder / "archive"),
            "PYTHONPATH": os.pathsep.join([str(RECORDER), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
        }
        for gateway in gateways:
            gateway.__enter__()
        try:
            with Stack(folder, environment) as stack:
                prepare(stack, gateways)
                judge = Judge(units, folder / "outbox", folder / "archive", influxdb, f"{BUCKET}/autogen")
                yield Scene(stack, influxdb, judge, random.Random(1))
        finally:
            for gateway in gateways:
                gateway.stop()


def prepare(stack: Stack, gateways: list[SimulatedGateway]) -> None:
    for schedule in ("poll_schedule", "discovery_schedule"):
        stack.ui.toggle(schedule, on=False)
    for address, name in ((0, COUNTER), (2, COPY)):
        stack.sql(f"INSERT INTO registers VALUES ('counting', {address}, '{name}', NULL, 5, 4, 2, 2)")
    for gateway in gateways:
        for id_ in gateway.units:
            stack.sql(f"INSERT INTO energy_meters VALUES ({id_}, '127.0.0.1', {gateway.port}, {id_}, 'counting', NULL)")
    assert stack.ui.wait_for_run(stack.ui.launch("discovery"))["status"] == "SUCCESS"


def kill_run_worker(scene: Scene) -> None:
    """Kill a run worker, in half of the cases while it reads, which takes only a small part of its time."""
    asked = scene.judge.answered()
    worker = wait_for("a run worker", scene.stack.run_workers, every_s=0.05)[0]
    if scene.chance.random() < 0.5:
        wait_for("meters to be asked", lambda: scene.judge.answered() != asked, every_s=0.01)
        time.sleep(scene.chance.uniform(0, 0.5))
    else:
        time.sleep(scene.chance.uniform(0, 3))
    with suppress(psutil.NoSuchProcess):
        worker.kill()


def kill_daemon(scene: Scene) -> None:
    scene.stack.kill("daemon")
    time.sleep(scene.chance.uniform(0, 2))
    scene.stack.start_daemon()


def kill_code_server(scene: Scene) -> None:
    scene.stack.kill("code_server")
    time.sleep(scene.chance.uniform(0, 2))
    scene.stack.start_code_server()


def kill_postgresql(scene: Scene) -> None:
    scene.stack.postgres.kill()
    time.sleep(scene.chance.uniform(0, 2))
    scene.stack.postgres.start()


def kill_influxdb(scene: Scene) -> None:
    scene.influxdb.kill()
    time.sleep(scene.chance.uniform(0, 20))
    scene.influxdb.start()


@pytest.mark.parametrize(
    ("fault", "kill"),
    [
        ("SIGKILL of a run worker", kill_run_worker),
        ("SIGKILL of the daemon", kill_daemon),
        ("SIGKILL of the code server with its run workers", kill_code_server),
        ("SIGKILL of PostgreSQL", kill_postgresql),
        ("SIGKILL of InfluxDB, back within 20 s", kill_influxdb),
    ],
)
def test_a_kill_loses_and_doubles_nothing_that_reached_the_outbox(
    scene: Scene, fault: str, kill: Callable[[Scene], None]
):
    scene.judge.start()
    before = set(scene.polls())
    stop = threading.Event()
    polls = threading.Thread(target=scene.poll_without_a_pause, args=(stop,))
    polls.start()
    try:
        for _ in range(KILLS):
            recorded = len(scene.judge.runs_recorded())
            wait_for("a poll to get through", lambda: len(scene.judge.runs_recorded()) > recorded, timeout_s=240)  # noqa: B023
            time.sleep(scene.chance.uniform(0, 4))
            kill(scene)
    finally:
        stop.set()
        polls.join()
    runs = {}

    def all_ended() -> bool:
        runs.update({id_: status for id_, status in scene.polls().items() if id_ not in before})
        return set(runs.values()) <= {"SUCCESS", "FAILURE", "CANCELED"}

    wait_for("killed runs to be found", all_ended, ENDED_WITHIN_S)
    wait_for(
        "the outbox to be replayed",
        lambda: not list(scene.stack.settings.outbox_folder.glob("*.points")),
        DRAINED_WITHIN_S,
    )

    row = scene.judge.verdict(fault, KILLS)
    publish(row)
    assert row.is_clean(), row
    recorded = scene.judge.runs_recorded()
    assert {id_ for id_, status in runs.items() if status == "SUCCESS"} <= recorded
    killed_while_reading = {id_ for id_, status in runs.items() if status != "SUCCESS"} - recorded
    assert row.read - row.stored <= METERS * len(killed_while_reading), "one sample of a killed run, and no more"
