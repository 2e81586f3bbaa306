"""The totals of all meters in InfluxDB equal the sums of the meters' energies, whatever was written in which order."""

from collections.abc import Iterator
from itertools import count
from types import SimpleNamespace

import pytest
from support.energies import energy_row
from support.influxdb import InfluxDB

from emm_pipeline.errors import StoreError
from emm_pipeline.stores.energy_points import EnergyPoints
from emm_pipeline.stores.influxdb import energy_totals
from emm_pipeline.stores.influxdb.client import InfluxClient
from emm_pipeline.stores.influxdb.history import InfluxHistory
from emm_pipeline.stores.influxdb.line_protocol import energy_lines

HOUR = 3_600_000
LENGTHS = {"hour": HOUR, "day": 24 * HOUR, "month": 31 * 24 * HOUR}
BEGIN = 1_767_205_800_000
"""Midnight in India, half an hour after the full hour of UTC: 2025-12-31 18:30."""
_numbers = count(1)


class Store:
    """An empty database, and what the dashboard reads from it."""

    def __init__(self, server: InfluxDB) -> None:
        self._server = server
        self.bucket = server.create_database(f"energy_totals_{next(_numbers)}")
        self.client = InfluxClient(server.url, server.token, server.token, server.org, self.bucket)

    def write(self, *rows: dict) -> None:
        """Write energies in a process of its own."""
        InfluxHistory(self.client).write_energy(EnergyPoints.of(rows))

    def write_as_before(self, *rows: dict) -> None:
        """Write energies as a version without totals did."""
        self.client.write("".join(energy_lines(EnergyPoints.of(rows))))

    def totals(self, period: str = "hour") -> list[tuple]:
        rows = self._server.query(
            f"SELECT energy, coverage, cost FROM emm_energy_total WHERE id = 'all' AND period = '{period}' "
            'GROUP BY "measurement", dataunit, period',
            bucket=self.bucket,
        )
        return sorted(
            (row["measurement"], (row["time"] - BEGIN) // LENGTHS[period], row["energy"], row["coverage"], row["cost"])
            for row in rows
        )

    def sums(self, period: str = "hour") -> list[tuple]:
        """The sums of the meters' energies, added here."""
        found: dict[tuple, list[dict]] = {}
        rows = InfluxHistory(self.client).read_energy(period, 0, 10**14).rows()
        for row in rows:
            found.setdefault((row["measurement"], (row["time"] - BEGIN) // LENGTHS[period]), []).append(row)
        return sorted((*key, *_sum(each)) for key, each in found.items())


def _sum(rows: list[dict]) -> tuple:
    costs = [row["cost"] for row in rows if row["cost"] == row["cost"]]
    return sum(row["energy"] for row in rows), min(row["coverage"] for row in rows), sum(costs) if costs else None


@pytest.fixture
def store(influxdb: InfluxDB) -> Iterator[Store]:
    store = Store(influxdb)
    yield store
    store.client.close()


def energy(number: int, meter: int, kwh: float, period: str = "hour", **others) -> dict:
    time = BEGIN + number * LENGTHS[period]
    return energy_row(time, meter, kwh, period, **({"measurement": "import, total"} | others))


def test_each_interval_and_counter_has_the_sum_the_lowest_coverage_and_the_cost_of_all_meters(store):
    store.write(
        energy(0, 1, 1.5, coverage=90.0, cost=0.25),
        energy(0, 2, 2.25),
        energy(1, 2, 2**-24),
        energy(1, 3, -1e6),
        energy(0, 1, 7.0, measurement="exportActiveEnergy", cost=-0.5),
    )
    store.write(energy(0, 1, 36.0, "day", cost=4.0), energy(0, 2, 12.0, "day"))
    assert store.totals() == [
        ("exportActiveEnergy", 0, 7.0, 100.0, -0.5),
        ("import, total", 0, 3.75, 90.0, 0.25),
        ("import, total", 1, 2**-24 - 1e6, 100.0, None),
    ]
    assert store.totals("day") == [("import, total", 0, 48.0, 100.0, 4.0)]


def test_a_recomputation_of_some_meters_changes_the_total_of_all(store):
    store.write(energy(0, 1, 1.0, cost=1.0), energy(0, 2, 2.0, cost=2.0), energy(1, 1, 8.0, cost=3.0))
    store.write(energy(0, 2, 4.0, cost=0.5, description="renamed"))
    assert store.totals() == [("import, total", 0, 5.0, 100.0, 1.5), ("import, total", 1, 8.0, 100.0, 3.0)]


def test_a_meter_that_was_removed_counts_in_the_intervals_that_have_its_energy(store):
    store.write(energy(0, 1, 1.0), energy(0, 2, 2.0))
    store.write(energy(1, 1, 1.0))
    store.write(energy(0, 1, 1.5), energy(1, 1, 1.0))
    assert (
        store.totals() == store.sums() == [("import, total", 0, 3.5, 100.0, None), ("import, total", 1, 1, 100, None)]
    )


def test_a_total_has_no_cost_once_no_meter_has_one(store):
    store.write(*(energy(hour, meter, 1.0, cost=2.0) for hour in (0, 1) for meter in (1, 2)))
    store.write(energy(0, 1, 1.0), energy(0, 2, 1.0))
    assert store.totals() == [("import, total", 0, 2.0, 100.0, None), ("import, total", 1, 2.0, 100.0, 4.0)]


def test_a_total_whose_energies_were_deleted_by_hand_goes_when_its_hour_is_computed(store):
    store.write(energy(0, 1, 1.0), energy(0, 1, 1.0, measurement="mistake"))
    store.client.delete("emm_energy", 'measurement="mistake"', BEGIN, BEGIN + HOUR)
    store.write(energy(0, 1, 2.0))
    assert store.totals() == [("import, total", 0, 2.0, 100.0, None)]


def history_of_a_year() -> list[dict]:
    rows = [energy(-hour, meter, meter + hour / 1024, cost=1.0) for hour in range(1, 60) for meter in (1, 2)]
    rows += [energy(-hour, 1, 1.0) for hour in (300, 5000, 8760)]
    rows += [energy(-day, meter, float(day), "day") for day in (*range(1, 100), 365) for meter in (1, 2)]
    return rows + [energy(-month, 1, 700.0, "month") for month in range(1, 13)]


def test_after_an_upgrade_the_next_hour_adds_the_totals_of_everything_that_is_stored(store):
    store.write_as_before(*history_of_a_year())
    store.write(energy(0, 1, 1.0), energy(0, 2, 1.0))
    for period, number in (("hour", 63), ("day", 100), ("month", 12)):
        assert len(store.totals(period)) == number
        assert store.totals(period) == store.sums(period)


def test_a_backfill_after_an_upgrade_leaves_no_gap_after_its_time(store):
    store.write_as_before(*history_of_a_year())
    store.write(energy(-8000, 1, 1.0), energy(-9000, 1, 1.0))
    assert store.totals() == store.sums()
    store.write(energy(-8999, 1, 1.0))
    assert store.totals() == store.sums()


@pytest.mark.parametrize("fails_at", [1, 2, 4])
def test_an_error_while_older_totals_are_added_does_not_fail_the_hour_and_the_next_one_adds_the_rest(
    store, monkeypatch, fails_at
):
    store.write_as_before(*history_of_a_year())
    write, done = store.client.write, count(1)

    def write_until(lines: str) -> None:
        if "_total" in lines and next(done) >= fails_at:
            if lines.count("\n") > 1:  # InfluxDB may have stored a part of a request, that of one shard
                write(lines[: lines.index("\n") + 1])
            raise StoreError("the disk is full")
        write(lines)

    monkeypatch.setattr(store.client, "write", write_until)
    store.write(energy(0, 1, 1.0))
    monkeypatch.undo()
    assert ("import, total", 0, 1.0, 100.0, None) in store.sums(), "the energy is stored"
    store.write(energy(1, 1, 1.0))
    for period in LENGTHS:
        assert store.totals(period) == store.sums(period)


def test_a_long_history_is_added_by_several_runs_the_newest_part_first(store, monkeypatch):
    store.write_as_before(*history_of_a_year())
    ticks = count()
    monkeypatch.setattr(energy_totals, "time", SimpleNamespace(monotonic=lambda: 10.0 * next(ticks)))
    store.write(energy(0, 1, 1.0))
    assert store.totals("month") == store.sums("month")
    some = store.totals("day")
    assert 0 < len(some) < len(store.sums("day"))
    assert some == store.sums("day")[-len(some) :]
    while len(store.totals()) < 63:
        store.write(energy(0, 1, 1.0))
    for period in LENGTHS:
        assert store.totals(period) == store.sums(period)


def test_an_error_while_the_totals_of_an_hour_are_written_fails_its_run_which_is_then_repeated(store, monkeypatch):
    store.write(energy(0, 1, 1.0))
    monkeypatch.setattr(store.client, "delete", None)
    write = store.client.write
    monkeypatch.setattr(store.client, "write", lambda lines: fail() if "_total" in lines else write(lines))

    def fail() -> None:
        raise StoreError("the disk is full")

    with pytest.raises(StoreError, match="disk is full"):
        store.write(energy(0, 1, 2.0))
    monkeypatch.undo()
    store.write(energy(0, 1, 2.0))
    assert store.totals() == [("import, total", 0, 2.0, 100.0, None)]


def test_energy_totals_are_no_readings_and_kept_when_old_readings_are_deleted(store):
    store.write(energy(0, 1, 1.0))
    history = InfluxHistory(store.client)
    history.delete_readings(BEGIN + 10 * HOUR)
    assert len(store.totals()) == len(store.sums()) == 1
