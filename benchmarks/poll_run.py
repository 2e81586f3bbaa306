"""The cost of a poll run over 10 to 10 000 meters, and how it grows. Only the meters are simulated.

PostgreSQL is embedded and durable. The meters are simulated in another process. The run is executed as a run worker
executes it. Each size is measured in a new process: `python -m benchmarks.poll_run METERS`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, text

from benchmarks.memory import peak_mib
from benchmarks.results import Row, against, at_most, info
from benchmarks.simulator import Fleet, Simulator
from emm_pipeline.cli.commands.database import upgrade_databases
from emm_pipeline.config_db.engine import create_config_engine
from emm_pipeline.config_db.loader import load_fleet
from emm_pipeline.config_db.upgrade import ensure_database
from emm_pipeline.embedded_postgres import EmbeddedPostgres
from emm_pipeline.polling import pipeline
from emm_pipeline.polling.plan import plan_meters
from emm_pipeline.settings import PROJECT_ROOT, current_settings

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from emm_pipeline.fleet import EnergyMeter

REGISTERS = 20
TARGET_S = 5.0
MOST_MIB = 400
POLLS_PER_DAY = 1440
RUNS = 2


def poll_run(*, quick: bool) -> list[Row]:
    """One poll run: its time without the reading, how its CPU time grows, and the size of Dagster's event log."""
    sizes = [10, 100] if quick else [10, 100, 1000, 10_000]
    measured = {size: _in_own_process(size) for size in sizes}
    rows = []
    large, small = max(sizes), sorted(sizes)[-2]
    for size, one in measured.items():
        name = f"one poll run over {size} meters"
        beyond = f"{name}, without reading"
        if size == small:
            rows.append(at_most(beyond, one["beyond_s"], "s", TARGET_S, one["reading_s"]))
        else:
            rows.append(info(beyond, one["beyond_s"], "s"))
        rows.append(info(f"{name}, CPU per meter", 1000 * one["cpu_s"] / size, "ms"))
    per_meter = {size: measured[size]["cpu_s"] / size for size in (large, small)}
    growth = f"growth: CPU per meter at {large} meters, compared with {small}"
    rows += [
        against(growth, per_meter[large], per_meter[small], "s", 1.2),
        at_most(f"memory of a run over {large} meters", measured[large]["peak_mib"], "MiB", MOST_MIB),
    ]
    return [*rows, *(_event_log(size, measured[size]) for size in (small, large))]


def _event_log(meters: int, measured: dict[str, float]) -> Row:
    """Size of Dagster's event log at a poll a minute that records all statuses. `event_log.py` has the default's."""
    name = f"event log of {meters} meters, per day, STATUS_INTERVAL_S=0"
    return info(name, measured["event_bytes"] * POLLS_PER_DAY / 1e9, "GB")


def _in_own_process(meters: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.poll_run", str(meters)]
    done = subprocess.run(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def main(meters: int) -> None:
    """Measure one size, and print the result as JSON."""
    folder = Path(tempfile.mkdtemp(prefix="emm-bench-"))
    folder.chmod(0o755)
    try:
        with EmbeddedPostgres(folder / "postgres") as postgres, Simulator(Fleet(meters)) as simulator:
            os.environ["STATUS_INTERVAL_S"] = "0"
            engine = _configure(postgres, folder, simulator.meters("bench"))
            fleet = load_fleet(engine)
            plan = plan_meters(fleet, {meter.id for meter in fleet.meters})
            deadline = datetime.now(UTC) + timedelta(minutes=2)
            reading = min(_timed(lambda: pipeline.read(plan, deadline, pipeline.Limits(200))) for _ in range(2))
            print(json.dumps(_run(reading)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(reading: float) -> dict[str, float]:
    from dagster import DagsterInstance

    from emm_pipeline.definitions import build_definitions

    definitions = build_definitions(current_settings())
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with DagsterInstance.get() as instance:
        jobs = {name: definitions.resolve_job_def(name) for name in ("discovery", "poll")}
        jobs["discovery"].execute_in_process(instance=instance, run_config=quiet)
        events = [_events()]
        for _ in range(RUNS):
            cpu = time.process_time()
            began = time.perf_counter()
            assert jobs["poll"].execute_in_process(instance=instance, run_config=quiet).success
            took, cpu = time.perf_counter() - began, time.process_time() - cpu
            events.append(_events())
    return {
        "reading_s": reading,
        "run_s": took,
        "beyond_s": took - reading,
        "cpu_s": cpu,
        "peak_mib": peak_mib(),
        "event_bytes": (events[-1] - events[0]) / RUNS,
    }


def _events() -> int:
    """Return the size of Dagster's event log with indexes in bytes."""
    engine = create_engine(current_settings().dagster_database_url)
    with engine.connect() as connection:
        size = connection.scalar(text("SELECT pg_total_relation_size('event_logs')")) or 0
    engine.dispose()
    return size


def _configure(postgres: EmbeddedPostgres, folder: Path, meters: list[EnergyMeter]) -> Engine:
    home = folder / "dagster"
    home.mkdir()
    shutil.copyfile(PROJECT_ROOT / "dagster.yaml", home / "dagster.yaml")
    os.environ |= {
        "POSTGRES_HOST": str(postgres.socket_dir),
        "POSTGRES_PORT": "5432",
        "POSTGRES_USER": "postgres",
        "POSTGRES_DB": "bench",
        "READINGS_STORE": "postgresql",
        "DAGSTER_HOME": str(home),
    }
    current_settings.cache_clear()
    settings = current_settings()
    ensure_database(settings.config_database_url)
    upgrade_databases(settings, lambda _: None)
    engine = create_config_engine(settings.config_database_url)
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO registers VALUES ('bench', :address, :name, 'V', 3, 4, 2, 2)"),
            [{"address": address, "name": f"value{address}"} for address in range(0, 2 * REGISTERS, 2)],
        )
        connection.execute(
            text("INSERT INTO energy_meters VALUES (:id, :host, :port, :unit, 'bench', NULL)"),
            [{"id": m.id, "host": m.host, "port": m.port, "unit": m.unit_id} for m in meters],
        )
    return engine


def _timed(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main(int(sys.argv[1]))
