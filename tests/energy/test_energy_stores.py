"""Reading readings back, and writing energies, in a real PostgreSQL and a real InfluxDB."""

from collections.abc import Iterator
from itertools import count

import numpy as np
import pytest
from sqlalchemy import create_engine

from emm_pipeline.errors import StoreAccessError, StoreError
from emm_pipeline.stores.energy_points import EnergyPoints
from emm_pipeline.stores.history import HistoryStore, Selection
from emm_pipeline.stores.influxdb.client import InfluxClient
from emm_pipeline.stores.influxdb.history import InfluxHistory
from emm_pipeline.stores.influxdb.store import InfluxReadingsStore
from emm_pipeline.stores.points import PointBatch
from emm_pipeline.stores.postgresql.history import PostgresHistory
from emm_pipeline.stores.postgresql.store import PostgresReadingsStore

NOON = 1_772_366_400_000
HOUR = 3_600_000
_numbers = count(1)


class Both:
    """A store to write readings, and the history of the same store."""

    def __init__(self, readings, history: HistoryStore) -> None:
        self.readings = readings
        self.history = history

    def put(self, *rows: tuple) -> None:
        """Write readings: minutes after noon, meter, measurement, unit, value, description."""
        names = ("time", "id", "measurement", "unit", "value", "description")
        points = [dict(zip(names, (NOON + round(row[0] * 60_000), *row[1:]), strict=False)) for row in rows]
        batch = PointBatch.of([{"description": None, **point} for point in points])
        assert self.readings.write(batch) == []


@pytest.fixture(params=["postgresql", "influxdb"])
def store(request) -> Iterator[Both]:
    if request.param == "postgresql":
        url = request.getfixturevalue("config_url")
        both = Both(PostgresReadingsStore(create_engine(url)), PostgresHistory(create_engine(url)))
    else:
        server = request.getfixturevalue("influxdb")
        bucket = server.create_database(f"energy_{next(_numbers)}")
        client = InfluxClient(server.url, server.token, server.token, server.org, bucket)
        both = Both(InfluxReadingsStore(server.url, server.token, server.org, bucket), InfluxHistory(client))
    yield both
    both.readings.close()
    both.history.close()


def rows_of(history) -> list[tuple]:
    """The readings in minutes after noon, sorted."""
    columns = zip(history.code.tolist(), history.time.tolist(), history.value.tolist(), strict=True)
    return sorted((*history.series[code], (time - NOON) / 60_000, value) for code, time, value in columns)


COUNTERS = Selection("^[kMG]?(Wh|varh|VAh)$")


def test_counters_of_a_time_are_read_exactly_whatever_their_meter_was_called(store):
    store.put(
        (0, 1, "import, total", "kWh", 0.1 + 0.2, "mains"),
        (1, 1, "import, total", "kWh", 1e9 + 0.01, "renamed = mains"),
        (2, 1, "import, total", "kWh", 3.0),
        (1, 2, "import, total", "MWh", 5.5),
        (1, 2, "activePower", "W", 100.0),
        (1, 2, "cosPhi", None, 0.9),
        (-1, 2, "import, total", "MWh", 5.0),
    )
    assert rows_of(store.history.read(COUNTERS, NOON, NOON + 120_000)) == [
        (1, "import, total", "kWh", 0.0, 0.1 + 0.2),
        (1, "import, total", "kWh", 1.0, 1e9 + 0.01),
        (2, "import, total", "MWh", 1.0, 5.5),
    ]
    power = store.history.read(Selection("^W$", "activePower", (2, 3)), NOON, NOON + HOUR)
    assert rows_of(power) == [(2, "activePower", "W", 1.0, 100.0)]
    assert len(store.history.read(Selection("^W$", "activePower", (1, 3)), NOON, NOON + HOUR)) == 0


def test_the_readings_beside_a_time_are_found_beyond_any_gap(store):
    store.put(*((minute, meter, "energy", "kWh", float(minute)) for meter in (1, 2) for minute in (-9000, -5, 5, 9000)))
    before = store.history.read_before(COUNTERS, NOON, 1)
    assert rows_of(before) == [(meter, "energy", "kWh", -5.0, -5.0) for meter in (1, 2)]
    assert rows_of(store.history.read_before(COUNTERS, NOON - HOUR, 1, within=HOUR)) == []
    after = store.history.read_after(COUNTERS, NOON + HOUR, 3)
    assert rows_of(after) == [(meter, "energy", "kWh", 9000.0, 9000.0) for meter in (1, 2)]
    assert store.history.first_time() == NOON - 9000 * 60_000


def test_a_store_without_readings_has_no_first_time_and_no_energies(store):
    assert store.history.first_time() is None
    assert rows_of(store.history.read(COUNTERS, NOON, NOON + HOUR)) == []
    assert len(store.history.read_energy("day", NOON, NOON + HOUR)) == 0


def energy(hour=0, meter=1, *, period="hour", kwh=1.25, cost=None, description="mains") -> dict:  # noqa: PLR0913
    return {
        "time": NOON + hour * HOUR,
        "id": meter,
        "description": description,
        "measurement": "import, total",
        "dataunit": "kWh",
        "period": period,
        "energy": kwh,
        "coverage": 99.5,
        "cost": cost,
        "estimated": 0.5,
        "readings": 60,
        "flags": "reset,estimated",
    }


def stored(store, period="hour", ids=None) -> list[dict]:
    rows = store.history.read_energy(period, NOON - HOUR, NOON + 100 * HOUR, ids).rows()
    found = [{**row, "cost": None if np.isnan(row["cost"]) else row["cost"]} for row in rows]
    return sorted(found, key=lambda row: (row["time"], row["id"]))


def test_energies_are_read_as_they_were_written(store):
    rows = [energy(cost=0.375), energy(1, kwh=-(2**-20)), energy(0, 2), energy(period="day", kwh=12.5)]
    store.history.write_energy(EnergyPoints.of(rows))
    assert stored(store) == [rows[0], rows[2], rows[1]]
    assert stored(store, "day") == [rows[3]]
    assert stored(store, ids=[2]) == [rows[2]]


def test_a_recomputed_energy_replaces_the_one_before_also_after_a_rename_and_without_its_cost(store):
    store.history.write_energy(EnergyPoints.of([energy(cost=1.5), energy(0, 2, cost=2.0), energy(1, cost=3.0)]))
    again = energy(kwh=2.0, description='renamed "x" = y', cost=None)
    store.history.write_energy(EnergyPoints.of([again]))
    assert stored(store) == [again, energy(0, 2, cost=2.0), energy(1, cost=3.0)]
    without = energy(kwh=2.0, description=None)
    store.history.write_energy(EnergyPoints.of([without]))
    assert [row["description"] or None for row in stored(store)] == [None, "mains", "mains"]


def test_deleting_old_readings_keeps_later_ones_and_all_energies(store):
    store.put(*((minute, 1, "energy", "kWh", 1.0) for minute in (-10, -1, 0, 1)))
    store.put((-10, 1, 'cos phi/total "x"', None, 0.9))
    store.history.write_energy(EnergyPoints.of([energy(-1)]))
    store.history.delete_readings(NOON)
    everything = store.history.read(Selection(), NOON - HOUR, NOON + HOUR)
    assert [row[3] for row in rows_of(everything)] == [0.0, 1.0]
    assert len(stored(store)) == 1


def test_an_export_has_every_reading_once(store):
    rows = [(minute, meter, "voltage", "V", float(minute)) for meter in (1, 2) for minute in range(0, 3 * 1440, 30)]
    store.put(*rows)
    parts = store.history.export(Selection(ids=(2,)), NOON, NOON + 3 * 24 * HOUR)
    found = sorted(row for part in parts for row in rows_of(part))
    assert found == [(2, "voltage", "V", float(row[0]), row[4]) for row in rows if row[1] == 2]


def test_a_token_that_may_not_read_is_reported_with_what_to_do(influxdb):
    token = influxdb.create_user("energy_without_rights", "secret-word")
    history = InfluxHistory(InfluxClient(influxdb.url, token, token, "emm", influxdb.bucket))
    with pytest.raises(StoreAccessError, match="INFLUXDB_READ_TOKEN") as caught:
        history.first_time()
    assert "secret-word" not in str(caught.value)


def test_an_influxdb_that_is_unavailable_is_reported_with_its_address():
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:1 does not answer"):
        InfluxHistory(InfluxClient("http://127.0.0.1:1", "t", "t", "emm", "emm")).first_time()
