"""A simulated year of 50 meters with resets, outages, replaced devices and late data: every month is right."""

import random
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, text

from emm_pipeline.config_db.device_state.energy_state import load_recomputations
from emm_pipeline.energy.periods import Period, days_between, edges_between, midnight, milliseconds
from emm_pipeline.energy.records import HOUR_MS
from emm_pipeline.energy.running import Again, EnergyRun
from emm_pipeline.stores.postgresql.history import PostgresHistory

pytestmark = pytest.mark.soak

BERLIN = ZoneInfo("Europe/Berlin")
FIRST, LAST = date(2025, 1, 1), date(2026, 1, 1)
METERS = 50
EVERY = timedelta(minutes=15)
STEP = 0.01
USUAL_MS = 2_250_000


class Meter:
    """A simulated meter: its readings, and the true energy of each month."""

    def __init__(self, id_: int) -> None:
        self.id = id_
        self.readings: list[tuple[datetime, float]] = []
        self.months = [0.0] * 12
        self._random = random.Random(id_)
        self._counter = self._random.uniform(0, 50_000)
        self._run()

    def _run(self) -> None:
        """Read all year. Outages do not begin or end in the last hours of a month, whose energy would be estimated."""
        chance, time = self._random, midnight(FIRST, BERLIN).astimezone(UTC)
        end = midnight(LAST, BERLIN).astimezone(UTC)
        quiet_until = time + timedelta(hours=4)
        silent_until = zero_until = time
        while time <= end:
            local = time.astimezone(BERLIN)
            shown = int(self._counter / STEP + 1e-6) * STEP
            if time >= silent_until:
                self.readings.append((time, 0.0 if time < zero_until else shown))
            calm = time > quiet_until and 2 <= local.day <= 26
            event = chance.random() if calm else 1.0
            if event < 0.0005:
                self._counter = 0.0 if event < 0.0002 else self._counter + chance.uniform(20_000, 90_000)
                quiet_until = time + timedelta(hours=8)
            else:
                flowed = chance.choice([0, 0.3, 1, 4, 11]) * EVERY.total_seconds() / 3600
                self._counter += flowed
                self.months[local.month - 1] += flowed if time < end else 0
                if event < 0.001:
                    silent_until = time + timedelta(hours=chance.uniform(1, 30))
                    quiet_until = silent_until + timedelta(hours=8)
                elif event < 0.0015:
                    zero_until = time + timedelta(minutes=40)
                    quiet_until = time + timedelta(hours=8)
            time += EVERY


@pytest.fixture(scope="module")
def fleet() -> list[Meter]:
    return [Meter(id_) for id_ in range(1, METERS + 1)]


@pytest.fixture
def database(config_engine: Engine) -> Engine:
    with config_engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO registers VALUES ('t', 0, 'importActiveEnergy', 'kWh', 5, 4, 2, 2, 0.01);"
            "INSERT INTO energy_meters (id, host, port, slave_address, type, max_power_w)"
            f" SELECT number, 'host', 502, 1, 't', 15000 FROM generate_series(1, {METERS}) AS number"
        )
    return config_engine


def store(engine: Engine, readings: list[tuple[int, datetime, float]]) -> None:
    rows = [{"id": id_, "time": time, "value": value} for id_, time, value in readings]
    columns = {name: [row[name] for row in rows] for name in ("id", "time", "value")}
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO readings SELECT time, id, NULL, 'importActiveEnergy', 'kWh', value FROM unnest("
                "CAST(:id AS integer[]), CAST(:time AS timestamptz[]), CAST(:value AS double precision[]))"
                " AS rows(id, time, value)"
            ),
            columns,
        )


def run(engine: Engine) -> EnergyRun:
    return EnergyRun(PostgresHistory(engine), engine, BERLIN, USUAL_MS)


def hours(begin: date, end: date) -> list[int]:
    return edges_between(Period.HOUR, begin, end, BERLIN)


def roll_up(engine: Engine) -> dict[int, list[float]]:
    """Compute the days and months of the year; return the months of each meter."""
    days = edges_between(Period.DAY, FIRST, LAST, BERLIN)
    run(engine).roll_up(Period.DAY, days, hours(FIRST, LAST))
    run(engine).roll_up(Period.MONTH, edges_between(Period.MONTH, FIRST, LAST, BERLIN), days)
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT id, energy FROM emm_energy WHERE period = 'month' ORDER BY time"
        ).all()
    found: dict[int, list[float]] = {}
    for row in rows:
        found.setdefault(row.id, []).append(row.energy)
    return found


@pytest.mark.timeout(1800)
def test_every_month_of_a_year_is_right_when_it_is_computed_day_by_day_with_late_data(database, fleet):
    chance = random.Random(0)
    by_date: dict[date, list[tuple[int, datetime, float]]] = {}
    for meter in fleet:
        for time, value in meter.readings:
            day = min(time.astimezone(BERLIN).date(), date(2025, 12, 31))
            by_date.setdefault(day, []).append((meter.id, time, value))
    late: list[tuple[int, datetime, float]] = []
    for day in days_between(FIRST, LAST):
        begin = midnight(day, BERLIN).astimezone(UTC)
        first, last = begin + timedelta(hours=9), begin + timedelta(hours=14)
        is_outage = chance.random() < 0.05 and day < date(2025, 12, 30)
        waiting = [each for each in by_date[day] if is_outage and first <= each[1] < last]
        store(database, [each for each in by_date[day] if not (is_outage and first <= each[1] < last)])
        run(database).hours(hours(day, day + timedelta(days=1)))
        if late:
            store(database, late)
            of_late = min(each[1] for each in late).astimezone(BERLIN).date()
            run(database).hours(hours(of_late, of_late + timedelta(days=1)), again=Again.LATE)
        late = waiting
        settle(database)
    assert not late
    by_day = roll_up(database)
    run(database).hours(hours(FIRST, LAST))
    assert roll_up(database) == by_day, "a backfill gives the same numbers"
    for meter in fleet:
        for found, true in zip(by_day[meter.id], meter.months, strict=True):
            assert found == pytest.approx(true, abs=0.05), meter.id


def settle(engine: Engine) -> None:
    """Compute the times again that runs have noted, as the sensor does."""
    noted = load_recomputations(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM energy_recomputations")
    for each in noted:
        begin, end = (milliseconds(time) // HOUR_MS * HOUR_MS for time in (each.from_time, each.to_time))
        run(engine).hours(list(range(begin, end + 2 * HOUR_MS, HOUR_MS)), again=Again.NOTED)


def test_the_simulated_year_begins_and_ends_at_midnight(fleet):
    assert fleet[0].readings[0][0] == datetime(2024, 12, 31, 23, tzinfo=UTC)
    assert fleet[0].readings[-1][0] == datetime(2025, 12, 31, 23, tzinfo=UTC)
