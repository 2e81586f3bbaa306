"""From the DataFrame into the real InfluxDB, against sending the same bytes."""

from __future__ import annotations

import struct
import sys
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.results import Row, against
from emm_pipeline.fleet import DataType, EnergyMeter, FunctionCode, MeterType, Register
from emm_pipeline.modbus.decoding import decode_readings
from emm_pipeline.readings import MeterReading, RegisterBlock, Request
from emm_pipeline.stores.delivery import Delivery
from emm_pipeline.stores.influxdb.store import InfluxReadingsStore
from emm_pipeline.stores.outbox.folder import Outbox
from emm_pipeline.stores.points import reading_lines

if TYPE_CHECKING:
    import pandas as pd

POINTS_PER_METER = 20


def loading(*, quick: bool) -> list[Row]:
    """200 000 points: into lines, into the outbox with fsync, into InfluxDB; the reference sends lines that are ready.

    Both over one connection in the same batches, compressed. Left out, and said so, where InfluxDB is not installed.
    """
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from support.influxdb import InfluxDB, ServerMissingError

    points = 20_000 if quick else 200_000
    with tempfile.TemporaryDirectory(prefix="emm-bench-") as folder:
        try:
            influxdb = InfluxDB(Path(folder))
        except ServerMissingError as err:
            print(f"loading is left out: {err}")
            return []
        with closing(influxdb):
            ours, bare = [], []
            for number in range(3):
                frame = _frame(points // POINTS_PER_METER, number)
                bucket = influxdb.create_database(f"bench{number}")
                other = influxdb.create_database(f"bare{number}")
                lines = reading_lines(frame).lines
                with closing(InfluxReadingsStore(influxdb.url, influxdb.token, influxdb.org, other)) as store:
                    bare.append(_timed(lambda: store.write(lines)))  # noqa: B023
                with closing(InfluxReadingsStore(influxdb.url, influxdb.token, influxdb.org, bucket)) as store:
                    delivery = Delivery(store, Outbox(Path(folder) / "outbox", 10**9))
                    ours.append(_timed(lambda: _load(delivery, frame, number)))  # noqa: B023
                assert _stored(influxdb, bucket) == points
    name = f"loading {points} points into InfluxDB, against the same lines ready"
    return [against(name, median(ours), median(bare), "s", 1.5)]


def _load(delivery: Delivery, frame: pd.DataFrame, number: int) -> None:
    lines = reading_lines(frame).lines
    loaded = delivery.load(lines, datetime.now(UTC), f"bench-{number}", until=time.monotonic() + 120)
    assert not loaded.problems, loaded.problems


def _frame(meters: int, number: int) -> pd.DataFrame:
    registers = tuple(
        Register(a, f"value{a}", "V", DataType.FLOAT, FunctionCode.READ_INPUT_REGISTERS)
        for a in range(0, 2 * POINTS_PER_METER, 2)
    )
    now = datetime.now(UTC).replace(microsecond=number * 1000)
    data = struct.pack(f">{POINTS_PER_METER}f", *(230.5 + value for value in range(POINTS_PER_METER)))
    samples = [
        MeterReading(
            EnergyMeter(id_, "h", 502, 1, "bench", f"meter {id_}"),
            now,
            (RegisterBlock(Request(FunctionCode.READ_INPUT_REGISTERS, 0, 2 * POINTS_PER_METER), data),),
        )
        for id_ in range(meters)
    ]
    return decode_readings(samples, {"bench": MeterType("bench", registers)})


def _stored(influxdb: Any, bucket: str) -> int:
    rows = influxdb.query("SELECT count(value) FROM /.*/", bucket)
    return sum(row["count"] for row in rows)


def _timed(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
