"""Runs over hours at the present time, with a real PostgreSQL: silent meters, and meters that have readings again."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from emm_pipeline.config_db.device_state.energy_state import load_open, load_recomputations
from emm_pipeline.energy.periods import milliseconds
from emm_pipeline.energy.records import HOUR_MS
from emm_pipeline.energy.running import Again, EnergyRun
from emm_pipeline.stores.postgresql.history import PostgresHistory

HOUR = timedelta(hours=1)
NAME = "importActiveEnergy"
ENDED = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - HOUR
"""The beginning of the last hour that has ended."""


@pytest.fixture
def database(config_engine):
    with config_engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO registers (type, register_address, measurement_name, data_unit, data_type, function_code,"
            f" word_order, byte_order, scale) VALUES ('t', 0, '{NAME}', 'kWh', 5, 4, 2, 2, 0.01),"
            " ('p', 0, 'activePower', 'kW', 3, 4, 2, 2, 1);"
            "INSERT INTO energy_meters (id, host, port, slave_address, type, description) VALUES"
            " (1, 'host', 502, 1, 't', 'mains'), (2, 'host', 502, 2, 'p', NULL)"
        )
    return config_engine


def put(engine, id_, name, unit, begin, end, first, each):  # noqa: PLR0913, PLR0917
    """Write a reading per minute."""
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO readings SELECT time, :id, NULL, :name, :unit, :first + :each * (number - 1)"
                " FROM generate_series(CAST(:begin AS timestamptz), :end, interval '1 minute')"
                " WITH ORDINALITY AS every(time, number)"
            ),
            {"id": id_, "name": name, "unit": unit, "begin": begin, "end": end, "first": first, "each": each},
        )


def compute(engine, begin):
    """Compute one hour; return the energies of the hour by measurement, and their flags."""
    edges = [milliseconds(begin), milliseconds(begin + HOUR)]
    store = PostgresHistory(engine)
    EnergyRun(store, engine, ZoneInfo("UTC"), 300_000).hours(edges)
    return {
        row["measurement"]: (round(row["energy"], 3), row["flags"]) for row in store.read_energy("hour", *edges).rows()
    }


def test_a_meter_that_has_readings_again_after_days_has_the_energy_of_its_gap_and_notes_the_hours_of_it(database):
    gap_begin = ENDED - timedelta(days=3)
    put(database, 1, NAME, "kWh", gap_begin - HOUR, gap_begin + timedelta(minutes=30), 100, 0.1)
    assert compute(database, gap_begin) == {NAME: (3.0, "incomplete")}
    assert load_open(database) == {(1, NAME): gap_begin + timedelta(minutes=30)}
    assert compute(database, ENDED - HOUR) == {}, "a silent meter has no energy"

    put(database, 1, NAME, "kWh", ENDED + timedelta(minutes=30), ENDED + HOUR + HOUR, 109 + 72, 0.1)
    energy, flags = compute(database, ENDED)[NAME]
    assert energy == pytest.approx(0.5 + 3.0, abs=0.01), "half an hour of 72 kWh in 72 hours, then 0.1 kWh a minute"
    assert flags == "estimated"
    assert load_open(database) == {}
    (noted,) = load_recomputations(database)
    assert (noted.from_time, noted.to_time) == (gap_begin - timedelta(hours=2), ENDED)
    assert compute(database, ENDED - HOUR) == {NAME: (1.0, "estimated")}


def test_the_power_of_a_meter_without_a_counter_is_integrated(database):
    put(database, 2, "activePower", "kW", ENDED - HOUR, ENDED + HOUR + HOUR, 3.0, 0.0)
    assert compute(database, ENDED) == {"activePower": (3.0, "power")}


def test_an_hour_without_readings_keeps_the_energy_that_it_had(database):
    put(database, 1, NAME, "kWh", ENDED - HOUR, ENDED + HOUR + HOUR, 100, 0.1)
    assert compute(database, ENDED) == {NAME: (6.0, None)}
    PostgresHistory(database).delete_readings(milliseconds(ENDED + 3 * HOUR))
    assert compute(database, ENDED) == {NAME: (6.0, None)}


def test_late_readings_that_end_a_gap_change_the_hours_of_the_gap_before_the_day_of_the_readings(database):
    day = ENDED - timedelta(days=3)
    put(database, 1, NAME, "kWh", day - 6 * HOUR, day - 4 * HOUR, 100, 0.1)
    put(database, 1, NAME, "kWh", day + 14 * HOUR, day + 25 * HOUR, 400, 0.1)
    assert run_hours(database, day - 6 * HOUR, day + 24 * HOUR)

    put(database, 1, NAME, "kWh", day + 10 * HOUR, day + 13 * HOUR, 200, 0.1)
    run_hours(database, day, day + 24 * HOUR, Again.LATE)
    noted = load_recomputations(database)
    assert min(each.from_time for each in noted) <= day - 4 * HOUR
    for each in noted:
        run_hours(database, each.from_time, each.to_time, Again.NOTED)
    energies = hours_of_all(database, day)
    run_hours(database, day - 6 * HOUR, day + 24 * HOUR)
    assert hours_of_all(database, day) == energies
    assert sum(energies) == pytest.approx(300 + 660 * 0.1, abs=0.001)


def run_hours(engine, begin, end, again=None) -> bool:
    """Compute the hours that a time touches."""
    first, last = milliseconds(begin) // HOUR_MS * HOUR_MS, -(-milliseconds(end) // HOUR_MS) * HOUR_MS
    run = EnergyRun(PostgresHistory(engine), engine, ZoneInfo("UTC"), 300_000)
    return run.hours(list(range(first, last + HOUR_MS, HOUR_MS)), again=again).rows > 0


def hours_of_all(engine, day) -> list[float]:
    """Return the energies of all hours around a day, in the order of time."""
    store = PostgresHistory(engine)
    begin, end = milliseconds(day - 10 * HOUR), milliseconds(day + 30 * HOUR)
    rows = sorted((row["time"], row["energy"]) for row in store.read_energy("hour", begin, end).rows())
    return [energy for _, energy in rows]
