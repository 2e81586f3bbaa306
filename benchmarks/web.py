"""The web page with 10 000 meters: how long a reply takes, how large an update is, and the memory of `emm web`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from sqlalchemy import text

from benchmarks.loading import POINTS_PER_METER, bench_frame
from benchmarks.publishing import configure
from benchmarks.results import Row, at_most, info
from emm_pipeline.cli.demo.processes import answers, free_port
from emm_pipeline.stores.outbox.copies import WEB_FOLDER, BatchCopies
from emm_pipeline.stores.outbox.folder import Outbox
from emm_pipeline.stores.shaping import shape_points

if TYPE_CHECKING:
    from sqlalchemy import Engine

ROUNDS = 3
EXPIRES_S = 12.0
"""Longer than a computed status is used, so that each overview computes it again."""
MB = 1 << 20


def web(*, quick: bool) -> list[Row]:
    """Serve the page of a fleet whose meters have 20 values each, after three polls."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from support.postgres import postgres_folder

    from emm_pipeline.config_db.engine import create_config_engine
    from emm_pipeline.config_db.upgrade import upgrade
    from emm_pipeline.embedded_postgres import EmbeddedPostgres

    meters = 1000 if quick else 10_000
    with postgres_folder() as folder, EmbeddedPostgres(folder / "data", durable=False) as server:
        engine = create_config_engine(server.url("postgres"))
        upgrade(engine)
        configure(engine, meters)
        _set_status(engine)
        port = free_port()
        environment = os.environ | {
            "POSTGRES_HOST": str(server.socket_dir),
            "POSTGRES_PORT": "5432",
            "POSTGRES_USER": "postgres",
            "POSTGRES_DB": "postgres",
            "READINGS_STORE": "postgresql",
            "OUTBOX_DIR": str(folder / "outbox"),
        }
        command = [Path(sys.executable).with_name("emm"), "web", "--no-login", "--port", str(port)]
        with subprocess.Popen(command, env=environment) as process:  # noqa: S603 - our own command
            try:
                return _measure(folder / "outbox", port, meters, psutil.Process(process.pid))
            finally:
                process.terminate()
                engine.dispose()


def _measure(outbox: Path, port: int, meters: int, process: psutil.Process) -> list[Row]:
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while not answers(f"{url}/healthz"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for number in range(3):
        _hand_over(outbox, meters, number)
    while _get(f"{url}/api/latest?id=0")[1].count(b'"read_at"') == 0:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    times: dict[str, float] = {}
    sizes: dict[str, int] = {}
    for _ in range(1 if meters < 10_000 else ROUNDS):  # noqa: PLR2004 - the whole benchmark
        time.sleep(EXPIRES_S)
        for path in ("/", "/meters", "/meters?q=meter+77", "/metrics", "/api/latest", "/metrics?values=1"):
            seconds, body = _get(url + path)
            times[path], sizes[path] = max(times.get(path, 0.0), seconds), len(body)
    name = f"web page with {meters} meters × {POINTS_PER_METER} values"
    return [
        at_most(f"{name}: overview, status computed", times["/"], "s", 1),
        info(f"{name}: a search", times["/meters?q=meter+77"], "s"),
        at_most(f"{name}: size of an update", sizes["/meters"] / 1000, "kB", 100),
        at_most(f"{name}: `/metrics`", times["/metrics"], "s", 1),
        at_most(f"{name}: `/api/latest`", times["/api/latest"], "s", 1),
        info(f"{name}: `/metrics` with all values", times["/metrics?values=1"], "s"),
        at_most(f"{name}: memory of `emm web`", process.memory_info().rss / MB, "MiB", 150),
    ]


def _get(url: str) -> tuple[float, bytes]:
    began = time.perf_counter()
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - our own server
        body = answer.read()
    return time.perf_counter() - began, body


def _hand_over(outbox: Path, meters: int, number: int) -> None:
    """Write a poll, and hand it over as a poll does."""
    points = shape_points(bench_frame(meters, number), []).points
    with Outbox(outbox, 10**9).put(points, datetime.now(UTC), f"bench-{number}") as batch:
        BatchCopies(outbox, WEB_FOLDER).add(outbox / batch.name)


def _set_status(engine: Engine) -> None:
    """Write that each meter was read just now; one in fifty fails."""
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO meter_status (id, polled_at, last_read_at, failing_since, reason) "
                "SELECT id, now(), now(), CASE WHEN id % 50 = 0 THEN now() END, "
                "CASE WHEN id % 50 = 0 THEN 'no reply within 3 s' END FROM energy_meters"
            )
        )
