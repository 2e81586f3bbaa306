"""The whole product on this machine with simulated meters, for the other modules to measure."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from sqlalchemy import create_engine, text

from benchmarks.simulator import Fleet, Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from emm_pipeline.fleet import EnergyMeter

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

TYPE = "bench"


@dataclass
class Product:
    """Daemon, webserver, code server, PostgreSQL and InfluxDB, started by the tests' `Stack` and `InfluxDB`."""

    stack: Any
    influxdb: Any
    simulator: Simulator
    meters: Sequence[EnergyMeter]

    def add_meters(self, meters: Sequence[EnergyMeter]) -> None:
        """Add rows to energy_meters, and run the discovery."""
        with self.stack.engine.begin() as connection:
            connection.execute(
                text("INSERT INTO energy_meters VALUES (:id, :host, :port, :unit, :type, NULL)"),
                [{"id": m.id, "host": m.host, "port": m.port, "unit": m.unit_id, "type": TYPE} for m in meters],
            )
        self.run("discovery")

    def run(self, job: str, **tags: str) -> str:
        """Run a job with these tags, wait for its end, and return the run's id."""
        run_id: str = self.stack.ui.launch(job, **tags)
        ended = self.stack.ui.wait_for_run(run_id, 300)
        assert ended["status"] == "SUCCESS", ended
        return run_id

    def dagsters(self, statement: str, **values: Any) -> list[Any]:
        """Execute a statement in Dagster's database, and return its rows."""
        engine = create_engine(self.stack.settings.dagster_database_url)
        with engine.begin() as connection:
            result = connection.execute(text(statement), values)
            rows = list(result.all()) if result.returns_rows else []
        engine.dispose()
        return rows

    def cpu_seconds(self) -> dict[str, float]:
        """User and system time so far of each process with its descendants, including ended ones."""
        roots = {name: [process] for name, process in self.stack.processes().items()}
        roots["influxdb"] = [psutil.Process(pid) for pid in self.influxdb.pids()]
        return {name: sum(map(cpu_of_tree, processes)) for name, processes in roots.items()}

    def all_cpu_seconds(self) -> float:
        """The sum of `cpu_seconds`."""
        return sum(self.cpu_seconds().values())

    def memory_mb(self) -> dict[str, float]:
        """Proportional memory in MB (10⁶ bytes) of each process with its descendants.

        Of a page of memory that n processes share, each has a share of 1/n (PSS).
        """
        roots = self.stack.processes() | {"fork server": self.stack.fork_servers()[0]}
        memory = {name: memory_of_tree(root) for name, root in roots.items()}
        memory["code_server"] -= memory["fork server"]
        memory["influxdb"] = sum(memory_of_tree(psutil.Process(pid)) for pid in self.influxdb.pids())
        return memory


def cpu_of_tree(root: psutil.Process) -> float:
    """User and system time so far of a process with its descendants, in seconds."""
    total = 0.0
    for process in [root, *root.children(recursive=True)]:
        with suppress(psutil.Error):
            total += sum(process.cpu_times()[:4])  # of the process, and of its children that have ended
    return total


def memory_of_tree(root: psutil.Process) -> float:
    """Proportional memory of a process with its descendants, in MB."""
    total = 0
    for process in [root, *root.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return total / 1e6


@contextmanager
def product(fleet: Fleet, registers: int, **environment: str) -> Iterator[Product]:
    """Start all processes, with schedules switched off. All meters, which the caller adds, have `registers` floats.

    Raises:
        ServerMissingError: InfluxDB is not installed.
    """
    from support.influxdb import InfluxDB
    from support.stack import Stack

    with ExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="emm-bench-", ignore_cleanup_errors=True)))
        folder.chmod(0o755)
        (folder / "influxdb").mkdir()
        influxdb = InfluxDB(folder / "influxdb")
        exits.callback(influxdb.close)
        settings = {
            "READINGS_STORE": "influxdb",
            "INFLUXDB_URL": influxdb.url,
            "INFLUXDB_TOKEN": influxdb.token,
            "INFLUXDB_BUCKET": influxdb.bucket,
            "INFLUXDB_ORG": influxdb.org,
            "INFLUX_UPDATER_CRON_SECOND_TRIGGER": "0",
            "TZ": "UTC",
        }
        simulator = exits.enter_context(Simulator(fleet))
        stack = exits.enter_context(Stack(folder / "stack", settings | environment, durable=True))
        with stack.engine.begin() as connection:
            connection.execute(
                text(f"INSERT INTO registers VALUES ('{TYPE}', :address, :name, 'V', 3, 4, 2, 2)"),  # noqa: S608 - constants only
                [{"address": address, "name": f"value{address}"} for address in range(0, 2 * registers, 2)],
            )
        for schedule in ("discovery_schedule", "poll_schedule", "prune_schedule"):
            stack.ui.toggle(schedule, on=False)
        yield Product(stack, influxdb, simulator, simulator.meters(TYPE))
