"""RUN_LAUNCHER=celery on three hosts (network namespaces) at one switch: the stack's host, and two with a worker.

A worker is killed, or its cable is pulled, late in a minute, so that the next tick comes before run monitoring can have
detected it. This needs root and iproute2.
"""

import os
import shutil
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from dagster import DagsterInstance
from support.celery_workers import Redis, Worker
from support.dagster_ui import wait_for
from support.meters import SimulatedGateway, SimulatedUnit, SimulatorLoop
from support.ports import free_port
from support.postgres import postgres_folder
from support.stack import Stack

from emm_pipeline.cli.demo.processes import ProcessGroup
from emm_pipeline.defs.runs import TICK_TAG

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0 or shutil.which("ip") is None, reason="network namespaces: root and ip"),
]

SWITCH, ADDRESS = "emm-switch", "10.77.0.1"
HOSTS = {"one": "10.77.0.2", "other": "10.77.0.3"}
LATE_S = 47
"""Second of the minute at which a worker is killed or disconnected."""


def ip(command: str) -> None:
    subprocess.run(["ip", *command.split()], check=True)


@pytest.fixture(scope="module")
def network() -> Iterator[None]:
    """A bridge with an address, and a namespace for each host."""
    with ExitStack() as undo:
        ip(f"link add {SWITCH} type bridge")
        undo.callback(ip, f"link del {SWITCH}")
        ip(f"addr add {ADDRESS}/24 dev {SWITCH}")
        ip(f"link set {SWITCH} up")
        for name, address in HOSTS.items():
            ip(f"netns add emm-{name}")
            undo.callback(ip, f"netns del emm-{name}")
            ip(f"link add emm-{name} type veth peer name eth0 netns emm-{name}")
            ip(f"link set emm-{name} master {SWITCH} up")
            ip(f"-n emm-{name} addr add {address}/24 dev eth0")
            ip(f"-n emm-{name} link set eth0 up")
            ip(f"-n emm-{name} link set lo up")
        yield


def forward(port: int, path: Path) -> None:
    """Forward a port to PostgreSQL's Unix socket, for the other hosts."""
    listener = socket.create_server((ADDRESS, port))

    def copy(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            end.close()

    def accept() -> None:
        while True:
            client, _ = listener.accept()
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(str(path))
            except OSError:  # it has ended
                client.close()
                continue
            threading.Thread(target=copy, args=(client, server), daemon=True).start()
            threading.Thread(target=copy, args=(server, client), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


@pytest.fixture(scope="module")
def gateways(network) -> Iterator[list[SimulatedGateway]]:
    """Two gateways with one unit each."""
    with SimulatorLoop() as loop, ExitStack() as gateways:
        registers = {(4, address): 0 for address in range(80)}
        yield [
            gateways.enter_context(SimulatedGateway({1: SimulatedUnit(registers)}, host=ADDRESS, loop=loop))
            for _ in range(2)
        ]


class Hosts:
    """The workers, and the runs that each executed."""

    def __init__(self, stack: Stack, workers: dict[str, Worker]) -> None:
        self.stack, self.workers = stack, workers
        self._seen: dict[int, Worker] = {}

    def polls(self, tick: datetime, **filters: list[str]) -> dict[str, Worker]:
        """Return the worker of each started run of a tick."""
        for worker in self.workers.values():
            self._seen |= {process.pid: worker for process in worker.processes()}
        runs = self.stack.ui.runs(tags=[{"key": TICK_TAG, "value": tick.isoformat()}], pipelineName="poll", **filters)
        return {run["runId"]: self._seen[self.stack.ui.process_of(run["runId"])] for run in runs if run["startTime"]}

    def times(self, meter: int, since: datetime) -> Counter[datetime]:
        """Return the number of readings of a meter for each sample time since a tick (seconds 0 and 50)."""
        with self.stack.engine.connect() as connection:
            rows = connection.exec_driver_sql(
                "SELECT time FROM readings WHERE id = %s AND measurement = 'voltageL1' AND time >= %s", (meter, since)
            )
            return Counter(at.replace(second=50 if at.second >= 50 else 0, microsecond=0) for at in rows.scalars())


@pytest.fixture(scope="module")
def hosts(network, gateways, tmp_path_factory) -> Iterator[Hosts]:
    with ProcessGroup(tmp_path_factory.mktemp("logs")) as processes, postgres_folder() as folder:
        redis = Redis(processes, ADDRESS)
        # Each run reads at once and again shortly before the end of the minute, so it lasts until then.
        environment = {
            "READINGS_STORE": "postgresql",
            "METERS_PER_RUN": "1",
            "TZ": "UTC",
            "INFLUX_UPDATER_CRON_SECOND_TRIGGER": "0,50",
            **redis.environment,
        }
        with Stack(folder / "stack", environment) as stack:
            stack.ui.toggle("poll_schedule", on=False)
            for id_, gateway in enumerate(gateways, start=1):
                stack.sql(f"INSERT INTO energy_meters VALUES ({id_}, '{ADDRESS}', {gateway.port}, 1, 'sdm630', NULL)")
            port = free_port()
            forward(port, stack.postgres.socket_dir / ".s.PGSQL.5432")
            environment = {
                **stack.environment,
                "POSTGRES_HOST": ADDRESS,
                "POSTGRES_PORT": str(port),
                "CELERY_CONCURRENCY": "2",
            }
            workers = {}
            for name in HOSTS:
                workers[name] = Worker(name, processes, folder, environment, "ip", "netns", "exec", f"emm-{name}")
            for worker in workers.values():
                worker.start()
            stack.ui.wait_for_run(stack.ui.launch("discovery"))
            yield Hosts(stack, workers)


@pytest.fixture
def instance(hosts, monkeypatch) -> Iterator[DagsterInstance]:
    for name, value in hosts.stack.environment.items():
        monkeypatch.setenv(name, value)
    with DagsterInstance.get() as instance:
        yield instance


def begin_a_minute(hosts: Hosts) -> tuple[datetime, str, Worker]:
    """Wait for a tick and its first reading; late in the minute, return the tick and a run with its worker."""
    tick = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
    hosts.stack.ui.toggle("poll_schedule", on=True)
    wait_for("the first sample", lambda: all(hosts.times(meter, tick) for meter in (1, 2)), 120)
    run_id, worker = next(iter(hosts.polls(tick).items()))
    time.sleep(max(0.0, (tick + timedelta(seconds=LATE_S) - datetime.now(UTC)).total_seconds()))
    return tick, run_id, worker


def goes_on(hosts: Hosts, tick: datetime, gone: Worker) -> None:
    """Check that the other worker polls both shards at the next tick, and that at most one reading is missing."""
    after = tick + timedelta(minutes=1)

    def polled() -> dict[str, Worker]:
        ended = hosts.polls(after, statuses=["SUCCESS"])
        return ended if len(ended) == 2 else {}

    assert gone not in wait_for("both shards", polled, 150).values()
    hosts.stack.ui.toggle("poll_schedule", on=False)
    for meter in (1, 2):
        times = hosts.times(meter, tick)
        assert set(times.values()) == {1}, "none is doubled"
        due = {tick, after, after + timedelta(seconds=50)}
        assert due <= set(times), "only the second fleet reading of the killed run is missing, which was not taken"


def test_a_worker_is_killed_late_in_a_minute(hosts, instance):
    tick, run_id, worker = begin_a_minute(hosts)
    worker.kill()
    goes_on(hosts, tick, worker)
    ended = hosts.stack.ui.wait_for_run(run_id)
    print(f"failed {ended['endTime'] - tick.timestamp() - LATE_S:.0f} s after the kill")
    assert ended["status"] == "FAILURE"
    worker.start()


def test_a_cable_is_pulled_late_in_a_minute_and_plugged_in_again(hosts, instance):
    tick, run_id, worker = begin_a_minute(hosts)
    ip(f"link set emm-{worker.name} down")
    goes_on(hosts, tick, worker)
    assert hosts.stack.ui.wait_for_run(run_id)["status"] == "FAILURE"
    ip(f"link set emm-{worker.name} up")
    control = instance.run_launcher.celery.control
    wait_for("the worker to be back", lambda: control.ping([worker.node], timeout=2), 180)
    wait_for("its processes to be free", lambda: not control.inspect([worker.node]).active()[worker.node], 120)
    assert hosts.stack.ui.wait_for_run(run_id)["status"] == "FAILURE", "whatever it says once it is back"
