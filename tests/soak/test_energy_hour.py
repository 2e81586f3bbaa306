"""The real daemon computes an hour within two minutes of its end, also over an outage of the store.

The hour ends some minutes after the start, in a time zone that each test makes for itself. Its earlier readings are in
the store before the daemon starts.
"""

import math
import struct
import time
import zoneinfo
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.dagster_ui import wait_for
from support.influxdb import INFLUXD_1_8, InfluxDB
from support.meters import SimulatedUnit, encode_value, inputs
from support.postgres import postgres_folder
from support.stack import Stack

from emm_pipeline.config_db.device_state.energy_state import save_begin
from emm_pipeline.energy.periods import milliseconds
from emm_pipeline.fleet import DataType
from emm_pipeline.opening import open_delivery, open_history
from emm_pipeline.stores.points import PointBatch

pytestmark = [pytest.mark.soak, pytest.mark.timeout(2400)]

STARTED_BEFORE = timedelta(minutes=3)
AWAY = timedelta(seconds=-60), timedelta(seconds=150)
"""The outage of the store, around the end of the hour."""
STEP_S, STEP_KWH = 10, 1 / 64
KWH_OF_HOUR = pytest.approx(3600 / STEP_S * STEP_KWH, abs=2 * STEP_KWH)
NAME = "importActiveEnergy"


def counter(time_s: float) -> float:
    """Return the counter at a time. It steps in the middle between two sample times."""
    return (time_s - BEGAN_S + STEP_S / 2) // STEP_S * STEP_KWH


BEGAN_S = time.time() // 60 * 60 - 86_400


class HourStack(Stack):
    """EMM with a meter, in a time zone in which the first hour of a day ends at `end`."""

    def __init__(self, folder: Path, environment: dict[str, str], port: int, end: datetime) -> None:
        super().__init__(folder, environment)
        self.end, self.begin = end, end - timedelta(hours=1)
        self._meter_port = port

    def _start_dagster(self) -> None:
        self.sql(
            "INSERT INTO registers VALUES ('counted', 0, :name, 'kWh', :type, 4, 2, 2)",
            name=NAME,
            type=DataType.FLOAT64.value,
        )
        self.sql(
            "INSERT INTO energy_meters VALUES (1, '127.0.0.1', :port, 1, 'counted', 'mains')", port=self._meter_port
        )
        save_begin(self.engine, self.begin.astimezone(zoneinfo.ZoneInfo(self.settings.tz)).date())
        now = datetime.now(UTC)
        count = int((now - self.begin) / timedelta(minutes=1)) + 90
        times = [now.replace(second=0, microsecond=0) - number * timedelta(minutes=1) for number in range(count)]
        point = {"id": 1, "description": "mains", "measurement": NAME, "unit": "kWh"}
        with open_delivery(self.settings) as delivery:
            rows = [point | {"time": milliseconds(each), "value": counter(each.timestamp())} for each in times]
            batch = delivery.put(PointBatch.of(rows), now, "earlier")
            assert delivery.load(batch, until=math.inf).problems == ()
        self.sql("DELETE FROM energy_recomputations")  # they were not late
        super()._start_dagster()

    def hour(self) -> dict | None:
        """Return the energy of the hour, if it was computed."""
        with open_history(self.settings) as history:
            found = history.read_energy("hour", milliseconds(self.begin), milliseconds(self.end))
        return next(iter(found.rows()), None)

    def computed_after_s(self) -> list[float]:
        """Return how long after the end of the hour it was computed, each time."""
        events = self.ui.ask(
            """{ assetNodeOrError(assetKey: {path: ["energy_hourly"]}) { ... on AssetNode {
                 assetMaterializations { timestamp partition } } } }"""
        )["assetNodeOrError"]["assetMaterializations"]
        assert {each["partition"][-5:] for each in events} <= {"00:00"}
        return sorted(int(each["timestamp"]) / 1000 - self.end.timestamp() for each in events)


def make_zone(folder: Path, end: datetime) -> str:
    """Make a time zone in which it is 01:00 at a time; return its name."""
    offset = (3600 - (end.hour * 60 + end.minute) * 60 + 43_200) % 86_400 - 43_200
    name = f"Test/Soon{end:%H%M}"
    counts = struct.pack(">6l", 0, 0, 0, 0, 1, 5)  # one kind of time, whose abbreviation has five bytes
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_bytes(b"TZif" + bytes(16) + counts + struct.pack(">lBB", offset, 0, 0) + b"SOON\0")
    return name


@pytest.fixture
def influxd(tmp_path: Path) -> Iterator[InfluxDB]:
    if not INFLUXD_1_8.exists():
        pytest.skip(f"{INFLUXD_1_8} does not exist: see .ci/run")
    with closing(InfluxDB(tmp_path, INFLUXD_1_8)) as server:
        yield server


@pytest.fixture(params=["influxdb", "postgresql"])
def stack(request, simulated_gateway) -> Iterator[HourStack]:
    gateway = simulated_gateway({1: SimulatedUnit(words)})
    environment = {"READINGS_STORE": request.param}
    if request.param == "influxdb":
        server = request.getfixturevalue("influxd")
        names = {"URL": server.url, "TOKEN": server.token, "BUCKET": server.bucket, "ORG": server.org}
        environment |= {f"INFLUXDB_{name}": value for name, value in names.items()}
    with postgres_folder() as folder:
        end = (datetime.now(UTC) + STARTED_BEFORE).replace(second=0, microsecond=0)
        (zones := folder / "zones").mkdir()
        path = f"{zones}:/usr/share/zoneinfo"
        environment |= {"TZ": make_zone(zones, end), "PYTHONTZPATH": path}
        zoneinfo.reset_tzpath(path.split(":"))
        try:
            with HourStack(folder, environment, gateway.port, end) as stack:
                yield stack
        finally:
            zoneinfo.reset_tzpath()


def words(function_code: int, address: int) -> int | None:
    return inputs(0, encode_value(counter(time.time()), DataType.FLOAT64)).get((function_code, address))


def is_complete(stack: HourStack) -> bool:
    """Whether the hour was computed from all of its readings."""
    found = stack.hour()
    return found is not None and not found["flags"] and found["energy"] == KWH_OF_HOUR


def wait_until(moment: datetime) -> None:
    time.sleep(max(0, (moment - datetime.now(UTC)).total_seconds()))


def test_an_hour_is_computed_within_two_minutes_of_its_end(stack: HourStack):
    wait_until(stack.end)
    assert stack.hour() is None
    wait_for("the hour", lambda: is_complete(stack), timeout_s=600)
    first, *again = wait_for("its materialization", stack.computed_after_s)
    print(f"{stack.settings.readings_store}: the hour was computed {first:.1f} s after its end")
    assert first <= 120
    assert not again, "once is enough"
    assert stack.hour()["coverage"] == 100.0


@pytest.mark.parametrize("stack", ["influxdb"], indirect=True)
def test_an_outage_of_the_store_over_the_end_of_an_hour_is_corrected_automatically(stack: HourStack, influxd: InfluxDB):
    # an outage of PostgreSQL also stops Dagster, and with it the polls
    wait_until(stack.end + AWAY[0])
    influxd.kill()
    wait_until(stack.end + AWAY[1])
    influxd.start()
    wait_for("the hour", lambda: is_complete(stack), timeout_s=1200, every_s=2)
    computed = stack.computed_after_s()
    print(f"the hour was computed {computed} s after its end")
    assert all(each > AWAY[1].total_seconds() for each in computed)
