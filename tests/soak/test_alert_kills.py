"""Alerts while every process is killed: each arrives once, in the order of the events."""

import random
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import groupby
from pathlib import Path

import psutil
import pytest
from sqlalchemy import create_engine, text
from support.command_line import EMM
from support.dagster_ui import wait_for
from support.endpoint import Endpoint
from support.meters import SimulatedGateway, SimulatedUnit, SimulatorLoop
from support.postgres import postgres_folder
from support.stack import Stack

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1500)]

DEVICE_FAILURE = 4
PATIENCE_S = 40
"""The watchdog reports a part that fails for this long. A process that is killed is started again sooner."""
ARRIVES_WITHIN_S = 300


class Scene:
    """The stack, the watchdog, a meter and the endpoint that receives the alerts."""

    def __init__(self, folder: Path, stack: Stack, gateway: SimulatedGateway, endpoint: Endpoint) -> None:
        self.stack = stack
        self.meter = gateway.units[1]
        self.endpoint = endpoint
        self.chance = random.Random(1)
        self.kills = 0
        self._state = folder / "watchdog.json"
        self._log = (folder / "watchdog.log").open("wb")
        self.start_watchdog()

    def start_watchdog(self) -> None:
        command = [EMM, "watchdog", "--interval", "1", "--patience", str(PATIENCE_S), "--state", str(self._state)]
        self._watchdog = subprocess.Popen(
            command, env=self.stack.environment, stdout=self._log, stderr=subprocess.STDOUT
        )

    def kill_watchdog(self) -> None:
        self._watchdog.kill()
        self._watchdog.wait()

    def events(self) -> list[tuple[str, str]]:
        """Return the subject of each alert that arrived, and whether it fails or has recovered, in order.

        A message that was accepted just before its sender was killed is sent again: equal lines in a row count once.
        """
        found = [re.search(r"  (.+?) (fails|has recovered)", line) for line, _ in groupby(self.endpoint.lines())]
        return [(each[1], each[2]) for each in found if each]

    def kill_one(self) -> None:
        """Kill a process at random, and start it again."""
        kind = self.chance.choice(["run worker", "code server", "daemon", "watchdog", "PostgreSQL"])
        if kind == "run worker":
            for worker in self.stack.run_workers():
                with suppress(psutil.NoSuchProcess):
                    worker.kill()
        elif kind == "code server":
            self.stack.kill("code_server")
            self.stack.start_code_server()
        elif kind == "daemon":
            self.stack.kill("daemon")
            self.stack.start_daemon()
        elif kind == "watchdog":
            self.kill_watchdog()
            self.start_watchdog()
        else:
            self.stack.postgres.kill()
            self.stack.postgres.start()
        self.kills += 1

    @contextmanager
    def polls(self) -> Iterator[None]:
        """Launch one poll after the other, as Dagster's page does, even while a part is unavailable."""
        stop = threading.Event()

        def launch() -> None:
            while not stop.wait(0.5):
                with suppress(OSError, AssertionError, KeyError, TypeError):
                    self.stack.ui.wait_for_run(self.stack.ui.launch("poll"), timeout_s=15)

        thread = threading.Thread(target=launch)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def wait_while_killing(self, what: str, look: Callable[[], bool]) -> None:
        """Kill a process every few seconds until `look` is true."""
        for _ in range(ARRIVES_WITHIN_S // 10):
            with suppress(AssertionError):
                wait_for(what, look, self.chance.uniform(8, 18), 0.5)
                return
            self.kill_one()
        wait_for(what, look, 1)

    def close(self) -> None:
        self.kill_watchdog()
        self._log.close()


@pytest.fixture
def scene() -> Iterator[Scene]:
    with ExitStack() as started:
        loop = started.enter_context(SimulatorLoop())
        folder = started.enter_context(postgres_folder())
        unit = SimulatedUnit({(4, address): 0 for address in range(80)})
        gateway = started.enter_context(SimulatedGateway({1: unit}, loop=loop))
        endpoint = Endpoint()
        started.callback(endpoint.close)
        environment = {"READINGS_STORE": "postgresql", "ALERT_URLS": endpoint.url, "TZ": "UTC"}
        stack = started.enter_context(Stack(folder, environment))
        for schedule in ("poll_schedule", "discovery_schedule"):
            stack.ui.toggle(schedule, on=False)
        stack.add_meter(1, gateway.port)
        assert stack.ui.wait_for_run(stack.ui.launch("discovery"))["status"] == "SUCCESS"
        assert stack.ui.wait_for_run(stack.ui.launch("poll"))["status"] == "SUCCESS"
        scene = Scene(folder, stack, gateway, endpoint)
        started.callback(scene.close)
        # "polling" is reported as stale because its schedule is switched off: the first alert.
        wait_for("the first alert", lambda: scene.events() == [("polling", "fails")], 120, 1)
        yield scene


def make_heartbeat_old(stack: Stack) -> None:
    engine = create_engine(stack.settings.dagster_database_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE daemon_heartbeats SET timestamp = timestamp - interval '2 minutes'"))
    engine.dispose()


def test_each_alert_arrives_once_and_in_the_order_of_events_while_every_process_is_killed(scene):
    expected = [("polling", "fails")]

    def arrived() -> bool:
        return len(scene.events()) >= len(expected)

    with scene.polls():
        for exception, event in ((DEVICE_FAILURE, "fails"), (0, "has recovered")) * 2:
            scene.meter.exception = exception
            expected.append(("meter 1", event))
            scene.wait_while_killing(f"the alert that meter 1 {event}", arrived)
            assert scene.events() == expected

    outages: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
        "code server": (lambda: scene.stack.kill("code_server"), scene.stack.start_code_server),
        "PostgreSQL": (scene.stack.postgres.kill, scene.stack.postgres.start),
        "Dagster's daemon": (lambda: scene.stack.kill("daemon"), scene.stack.start_daemon),
    }
    for name, (end, start) in outages.items():
        end()
        if name == "Dagster's daemon":
            make_heartbeat_old(scene.stack)
        for event, change in (("fails", None), ("has recovered", start)):
            if change:
                change()
            expected.append((name, event))
            wait_for(f"the alert that {name} {event}", arrived, ARRIVES_WITHIN_S, 1)
            scene.kill_watchdog()  # what it has reported, it does not report again
            scene.start_watchdog()
    scene.stack.ui.toggle("poll_schedule", on=True)
    expected.append(("polling", "has recovered"))
    wait_for("the last alert", arrived, ARRIVES_WITHIN_S, 1)
    assert scene.events() == expected
    print(f"{scene.kills} kills, {len(expected)} alerts, {len(scene.endpoint.lines())} lines received")
