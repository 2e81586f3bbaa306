"""Loading a DataFrame into InfluxDB, compared with sending the same line protocol prepared in advance."""

from __future__ import annotations

import gzip
import struct
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import urllib3

from benchmarks.results import Row, against, at_most
from emm_pipeline.fleet import DataType, EnergyMeter, FunctionCode, MeterType, Register
from emm_pipeline.modbus.decoding import decode_readings
from emm_pipeline.readings import MeterReading, RegisterBlock, Request
from emm_pipeline.stores.delivery import Delivery
from emm_pipeline.stores.influxdb.line_protocol import LineProtocol
from emm_pipeline.stores.influxdb.store import BATCH_POINTS, InfluxReadingsStore
from emm_pipeline.stores.outbox.folder import Outbox
from emm_pipeline.stores.shaping import shape_points

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

POINTS_PER_METER = 20
TYPICAL_VALUES = (230.0, 231.0, 229.0, 5.2, 4.8, 5.0, 1200.0, 1100.0, 1150.0, 3450.0, 0.95, 50.0, 123_456.0)


@dataclass(frozen=True)
class Cost:
    """Elapsed time and CPU time of this process for storing a batch, in seconds."""

    elapsed: float
    cpu: float

    @classmethod
    def of(cls, work: Callable[[], object]) -> Cost:
        """Measure the cost of calling `work`."""
        began, cpu = time.perf_counter(), time.process_time()
        work()
        return cls(time.perf_counter() - began, time.process_time() - cpu)


def loading(*, quick: bool) -> list[Row]:
    """Write 200 000 points into the outbox with fsync, and into InfluxDB; the reference sends prepared lines.

    Both send the same compressed batches over one connection. Skipped, with a message, if InfluxDB is not installed.
    """
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from support.influxdb import InfluxDB, ServerMissingError

    points = 20_000 if quick else 200_000
    with tempfile.TemporaryDirectory(prefix="emm-bench-") as folder:
        try:
            influxdb = InfluxDB(Path(folder))
        except ServerMissingError as err:
            print(f"loading: skipped, {err}")
            return []
        with closing(influxdb):
            ours, bare = [], []
            for number in range(3):
                frame = bench_frame(points // POINTS_PER_METER, number)
                bucket = influxdb.create_database(f"bench{number}")
                other = influxdb.create_database(f"bare{number}")
                bodies = _bodies(frame)
                bare.append(Cost.of(lambda: _send(influxdb, other, bodies)))  # noqa: B023
                with closing(InfluxReadingsStore(influxdb.url, influxdb.token, influxdb.org, bucket)) as store:
                    delivery = Delivery(store, Outbox(Path(folder) / "outbox", 10**9))
                    ours.append(Cost.of(lambda: _load(delivery, frame, number)))  # noqa: B023
                assert _stored(influxdb, bucket) == _stored(influxdb, other) == points
            on_disk = _bytes_on_disk(frame, Path(folder) / "outbox")
    of_ours, of_bare = (
        Cost(median(cost.elapsed for cost in costs), median(cost.cpu for cost in costs)) for costs in (ours, bare)
    )
    name = f"loading {points} points into InfluxDB"
    return [
        against(f"{name}, compared with sending prepared lines", of_ours.elapsed, of_bare.elapsed, "s", 1.5),
        at_most(
            f"{name}: CPU of this process", of_ours.cpu / points * 1e6, "µs per point", 3, of_bare.cpu / points * 1e6
        ),
        against(
            f"outbox file of {points} points, compared with gzipped line protocol",
            on_disk / points,
            sum(len(gzip.compress(body, 1)) for body in bodies) / points,
            "bytes per point",
            0.5,
        ),
    ]


def _load(delivery: Delivery, frame: pd.DataFrame, number: int) -> None:
    points = shape_points(frame, []).points
    batch = delivery.put(points, datetime.now(UTC), f"bench-{number}")
    loaded = delivery.load(batch, until=time.monotonic() + 120)
    assert not loaded.problems, loaded.problems


def _bodies(frame: pd.DataFrame) -> list[bytes]:
    lines = LineProtocol(shape_points(frame, []).points)
    return [lines.text(start, start + BATCH_POINTS).encode() for start in range(0, len(frame), BATCH_POINTS)]


def _send(influxdb: Any, bucket: str, bodies: list[bytes]) -> None:
    http = urllib3.PoolManager()
    headers = {"Authorization": f"Token {influxdb.token}", "Content-Encoding": "gzip"}
    url = f"{influxdb.url}/api/v2/write?org={influxdb.org}&bucket={bucket}&precision=ms"
    for body in bodies:
        answer = http.request("POST", url, body=gzip.compress(body, 1), headers=headers)
        assert not answer.data, answer.data


def _bytes_on_disk(frame: pd.DataFrame, folder: Path) -> int:
    outbox = Outbox(folder, 10**9)
    with outbox.put(shape_points(frame, []).points, datetime.now(UTC), "size") as batch:
        return (folder / batch.name).stat().st_size


def bench_frame(meters: int, number: int) -> pd.DataFrame:
    """Readings like those of real meters: 32-bit floats that differ from meter to meter."""
    registers = tuple(
        Register(a, f"value{a}", "V", DataType.FLOAT, FunctionCode.READ_INPUT_REGISTERS)
        for a in range(0, 2 * POINTS_PER_METER, 2)
    )
    now = datetime.now(UTC).replace(microsecond=number * 1000)
    chance = np.random.default_rng(number)
    typical = np.resize(TYPICAL_VALUES, POINTS_PER_METER)
    values = typical * (1 + 0.02 * chance.standard_normal((meters, POINTS_PER_METER)))
    samples = [
        MeterReading(
            EnergyMeter(id_, "h", 502, 1, "bench", f"meter {id_}"),
            now,
            (
                RegisterBlock(
                    Request(FunctionCode.READ_INPUT_REGISTERS, 0, 2 * POINTS_PER_METER),
                    struct.pack(f">{POINTS_PER_METER}f", *values[id_]),
                ),
            ),
        )
        for id_ in range(meters)
    ]
    return decode_readings(samples, {"bench": MeterType("bench", registers)})


def _stored(influxdb: Any, bucket: str) -> int:
    rows = influxdb.query("SELECT count(value) FROM /.*/", bucket)
    return sum(row["count"] for row in rows)
