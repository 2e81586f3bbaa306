"""What a poll run costs beyond the reading itself: 1000 meters, a fiftieth of them dead, everything real.

PostgreSQL is embedded and durable, meters are simulated in a process of their own, the run is executed as a run worker
executes it.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import shutil
import struct
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from benchmarks.results import Row, at_most, said
from emm_pipeline import polling
from emm_pipeline.cli.database import upgrade_databases
from emm_pipeline.config_db.engine import create_config_engine
from emm_pipeline.config_db.loader import load_fleet
from emm_pipeline.config_db.upgrade import ensure_database
from emm_pipeline.embedded_postgres import EmbeddedPostgres
from emm_pipeline.outcomes import plan_meters
from emm_pipeline.settings import PROJECT_ROOT, current_settings

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from sqlalchemy import Engine

TARGET_S = 5.0
METERS = 1000
DEAD_SHARE = 50
"""One meter in so many is a closed port."""
REGISTERS = 20


def poll_run(*, quick: bool) -> list[Row]:
    """One poll run, beyond the reading itself."""
    meters = 100 if quick else METERS
    folder = Path(tempfile.mkdtemp(prefix="emm-bench-"))
    folder.chmod(0o755)
    try:
        with EmbeddedPostgres(folder / "postgres") as postgres:
            measured = _measure(postgres, folder, meters)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    name = f"one poll run over {meters} meters"
    return [
        at_most(f"{name}, beyond the reading itself", measured["beyond_s"], "s", TARGET_S, measured["reading_s"]),
        said(f"{name}, CPU", measured["cpu_s"], "CPU-s"),
    ]


def _measure(postgres: EmbeddedPostgres, folder: Path, meters: int) -> dict[str, Any]:
    receiver, sender = multiprocessing.Pipe(duplex=False)
    simulator = multiprocessing.Process(target=_serve, args=(sender, meters), daemon=True)
    simulator.start()
    ports = receiver.recv()
    try:
        engine = _configure(postgres, folder, f"bench_{meters}", ports)
        fleet = load_fleet(engine)
        plan = plan_meters(fleet, {meter.id for meter in fleet.meters})
        deadline = datetime.now(UTC) + timedelta(minutes=1)
        reading = min(_timed(lambda: polling.read(plan, deadline, 200)) for _ in range(3))
        return _run(reading)
    finally:
        simulator.kill()
        simulator.join()


def _run(reading: float) -> dict[str, float]:
    from dagster import DagsterInstance

    from emm_pipeline.defs.build import build_definitions

    definitions = build_definitions(current_settings())
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with DagsterInstance.get() as instance:
        jobs = {name: definitions.resolve_job_def(name) for name in ("discovery", "poll")}
        jobs["discovery"].execute_in_process(instance=instance, run_config=quiet)
        cpu = time.process_time()
        took = _timed(
            lambda: jobs["poll"].execute_in_process(instance=instance, raise_on_error=False, run_config=quiet)
        )
        cpu = time.process_time() - cpu
    return {"reading_s": reading, "run_s": took, "beyond_s": took - reading, "cpu_s": cpu}


def _configure(postgres: EmbeddedPostgres, folder: Path, database: str, ports: list[int]) -> Engine:
    home = folder / database
    home.mkdir()
    shutil.copyfile(PROJECT_ROOT / "dagster.yaml", home / "dagster.yaml")
    os.environ |= {
        "POSTGRES_HOST": str(postgres.socket_dir),
        "POSTGRES_PORT": "5432",
        "POSTGRES_USER": "postgres",
        "POSTGRES_DB": database,
        "READINGS_STORE": "postgresql",
        "DAGSTER_HOME": str(home),
    }
    current_settings.cache_clear()
    settings = current_settings()
    ensure_database(settings.config_database_url)
    upgrade_databases(settings, lambda _: None)
    engine = create_config_engine(settings.config_database_url)
    with engine.begin() as connection:
        for address in range(0, 2 * REGISTERS, 2):
            connection.execute(
                text("INSERT INTO registers VALUES ('bench', :address, :name, 'V', 3, 4, 2, 2)"),
                {"address": address, "name": f"value{address}"},
            )
        connection.execute(
            text("INSERT INTO energy_meters VALUES (:id, '127.0.0.1', :port, 1, 'bench', NULL)"),
            [{"id": id_, "port": port} for id_, port in enumerate(ports)],
        )
    return engine


def _serve(sender: Connection, meters: int) -> None:
    """Serve a port per meter, each answering every request at once; a dead meter's port is closed."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                transaction_id, _, _, unit_id, function_code, _, count = struct.unpack(
                    ">HHHBBHH", await reader.readexactly(12)
                )
                header = struct.pack(">HHHBBB", transaction_id, 0, 3 + 2 * count, unit_id, function_code, 2 * count)
                writer.write(header + struct.pack(">f", 230.5) * (count // 2))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def serve() -> None:
        servers = [await asyncio.start_server(answer, "127.0.0.1", 0) for _ in range(meters)]
        ports = [server.sockets[0].getsockname()[1] for server in servers]
        for server in servers[::DEAD_SHARE]:
            server.close()
        sender.send(ports)
        await asyncio.Event().wait()

    asyncio.run(serve())


def _timed(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
