"""A real Redis, and real Celery workers, each with its own process session, DAGSTER_HOME and OUTBOX_DIR."""

import os
import secrets
import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest
from support.dagster_ui import wait_for
from support.influxdb import ServerMissingError
from support.ports import free_port

from emm_pipeline.cli.demo.processes import ProcessGroup, listens
from emm_pipeline.settings import PROJECT_ROOT

_CELERY = Path(sys.executable).parent / "celery"


class Redis:
    """A Redis with a password and without files, which can be stopped and started; by default on 127.0.0.1."""

    def __init__(self, processes: ProcessGroup, host: str = "127.0.0.1") -> None:
        program = shutil.which("redis-server")
        if program is None:
            raise ServerMissingError("redis-server is not installed: apt-get install redis-server")
        self.host, self.port, self.password = host, free_port(), f"a:b@/{secrets.token_hex(16)}"
        self._processes, self._program = processes, program
        self.on()

    @property
    def environment(self) -> dict[str, str]:
        """The settings with which EMM uses this Redis."""
        return {
            "RUN_LAUNCHER": "celery",
            "REDIS_HOST": self.host,
            "REDIS_PORT": str(self.port),
            "REDIS_PASSWORD": self.password,
        }

    def on(self) -> None:
        """Start an empty Redis, and wait until it listens."""
        settings = ["--port", str(self.port), "--bind", *{"127.0.0.1", self.host}, "--requirepass", self.password]
        self._processes.start("redis", [self._program, *settings, "--save", "", "--appendonly", "no"], os.environ)
        wait_for("Redis", lambda: listens(self.port), every_s=0.1)

    def off(self) -> None:
        """SIGKILL it."""
        self._processes.kill("redis")


class Worker:
    """The worker of one host."""

    def __init__(
        self, name: str, processes: ProcessGroup, folder: Path, environment: Mapping[str, str], *enter: str
    ) -> None:
        self.name, self.node = name, f"{name}@test"
        self.home, self.outbox = folder / name, folder / name / "outbox"
        self.home.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PROJECT_ROOT / "dagster.yaml", self.home / "dagster.yaml")
        own = {"DAGSTER_HOME": str(self.home), "OUTBOX_DIR": str(self.outbox)}
        self._environment = {"CELERY_CONCURRENCY": "1", **environment, **own}
        self._processes, self._enter = processes, enter
        self._is_there = False

    def start(self) -> None:
        """Start the worker, and wait until it accepts runs."""
        app = ["--app", "emm_pipeline.celery_app"]
        command = [*self._enter, _CELERY, *app, "worker", "--hostname", self.node, "--loglevel", "INFO"]
        self._processes.start(self.name, command, self._environment)
        self._is_there = True
        wait_for(f"worker {self.name}", lambda: f"{self.node} ready." in self.log())

    def stop(self) -> None:
        """Stop the worker after its present tasks."""
        os.kill(self.pid, signal.SIGTERM)
        psutil.Process(self.pid).wait(30)
        self.kill()

    def kill(self) -> None:
        """SIGKILL the worker and its processes, as if its host had crashed."""
        self._processes.kill(self.name)
        self._is_there = False

    @property
    def pid(self) -> int:
        """The process from which the others are forked."""
        return self._processes.pid(self.name)

    def processes(self) -> list[psutil.Process]:
        """Return the processes that execute runs: forks with the worker's command line."""
        if not self._is_there:
            return []
        worker = psutil.Process(self.pid)
        return [child for child in worker.children() if _command(child) == worker.cmdline()]

    def log(self) -> str:
        """Return the worker's log."""
        return self._processes.log(self.name).read_text(errors="replace")


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it has ended
        return []


def redis_or_skip(processes: ProcessGroup) -> Redis:
    """Start Redis, or skip the test if it is not installed."""
    try:
        return Redis(processes)
    except ServerMissingError as err:
        if os.environ.get("EMM_REQUIRE_SERVERS") == "1":
            pytest.fail(str(err))
        pytest.skip(str(err))
