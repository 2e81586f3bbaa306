"""Publishing the values of a poll by MQTT: the CPU time of the publisher and of the poll, with a real Mosquitto."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text

from benchmarks.loading import POINTS_PER_METER, bench_frame
from benchmarks.results import Row, at_most, info
from emm_pipeline.mqtt.broker import Broker
from emm_pipeline.mqtt.options import load_published_fleet
from emm_pipeline.mqtt.publisher import RELOAD_S, TICK_S, Publisher
from emm_pipeline.mqtt.sender import Options
from emm_pipeline.mqtt.topics import Topics
from emm_pipeline.stores.outbox.copies import BatchCopies
from emm_pipeline.stores.outbox.folder import Outbox
from emm_pipeline.stores.shaping import shape_points

if TYPE_CHECKING:
    from sqlalchemy import Engine

POLLS = 5


def publishing(*, quick: bool) -> list[Row]:
    """Publish polls of 1000 meters with 20 values each, as `emm mqtt` does in a minute of its life.

    A minute has one poll, one reading of the configuration, and the ticks in which there is nothing to do. Skipped if
    Mosquitto is not installed.
    """
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if not program:
        print("publishing: skipped, mosquitto is not installed")
        return []
    meters = 200 if quick else 1000
    with tempfile.TemporaryDirectory(prefix="emm-bench-") as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        broker = subprocess.Popen(  # noqa: S603 - a server on this machine
            [program, "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            _wait_for(port)
            return _measure(Path(folder), port, meters)
        finally:
            broker.kill()
            broker.wait()


def _measure(folder: Path, port: int, meters: int) -> list[Row]:
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from support.postgres import postgres_folder

    from emm_pipeline.config_db.engine import create_config_engine
    from emm_pipeline.config_db.upgrade import upgrade
    from emm_pipeline.embedded_postgres import EmbeddedPostgres

    with postgres_folder() as data, EmbeddedPostgres(data / "data", durable=False) as server:
        engine = create_config_engine(server.url("postgres"))
        upgrade(engine)
        configure(engine, meters)
        copies = BatchCopies(folder / "outbox")
        copies.folder.mkdir(parents=True)
        options = Options(Topics(), "bench")
        publisher = Publisher(
            copies,
            lambda: load_published_fleet(engine),
            lambda: Broker("127.0.0.1", port),
            lambda: timedelta(minutes=4),
            options,
        )
        _put(folder, meters, 0)
        _until_sent(publisher, meters * (POINTS_PER_METER + 1))  # with the discovery
        handing_over = publishing = loading = idle = 0.0
        for number in range(1, POLLS + 1):
            name = _put(folder, meters, number)
            before = time.process_time()
            for _ in range(100):
                copies.add(folder / "outbox" / name)
                (copies.folder / name).unlink()
            handing_over += (time.process_time() - before) / 100
            copies.add(folder / "outbox" / name)
            before = time.process_time()
            _until_sent(publisher, publisher.state.messages + meters * POINTS_PER_METER)
            publishing += time.process_time() - before
            before = time.process_time()
            load_published_fleet(engine)
            loading += time.process_time() - before
            before = time.process_time()
            for _ in range(4):
                publisher.step()
            idle += (time.process_time() - before) / 4
        engine.dispose()
    ticks, loads = 60 / TICK_S, 60 / RELOAD_S
    total = (publishing + loading * loads + idle * ticks) / POLLS
    name = f"publishing {meters} meters × {POINTS_PER_METER} values by MQTT"
    return [
        at_most(f"{name}: CPU of `emm mqtt` in a minute", total, "s", 0.3),
        info(f"{name}: of it for sending", publishing / POLLS, "s"),
        at_most(f"{name}: CPU that it adds to the poll", handing_over / POLLS * 1000, "ms", 1),
    ]


def _put(folder: Path, meters: int, number: int) -> str:
    points = shape_points(bench_frame(meters, number), []).points
    with Outbox(folder / "outbox", 10**9).put(points, datetime.now(UTC), f"bench-{number}") as batch:
        if number == 0:
            BatchCopies(folder / "outbox").add(folder / "outbox" / batch.name)
        return batch.name


def _until_sent(publisher: Publisher, messages: int) -> None:
    deadline = time.monotonic() + 60
    while publisher.state.messages < messages:
        assert time.monotonic() < deadline, (publisher.state, messages)
        publisher.step()


def configure(engine: Engine, meters: int) -> None:
    """Write the meters and the type of `bench_frame` into the configuration."""
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO energy_meters SELECT id, '10.0.0.1', 502, 1, 'bench', 'meter ' || id "
                "FROM generate_series(0, :last) AS id"
            ),
            {"last": meters - 1},
        )
        connection.execute(
            text(
                "INSERT INTO registers SELECT 'bench', a, 'value' || a, 'V', 3, 4, 2, 2 "
                "FROM generate_series(0, :last, 2) AS a"
            ),
            {"last": 2 * POINTS_PER_METER - 2},
        )


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError("mosquitto does not listen")
