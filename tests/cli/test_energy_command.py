"""`emm energy` and `emm export`: tables for people, JSON, CSV and Parquet for programs."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
import pytest

NAME = "importActiveEnergy"
BEGIN = datetime(2026, 3, 28, 23, tzinfo=UTC)
"""Midnight in Berlin, of the day on which the clocks are set forward."""


@pytest.fixture
def energies(config_engine):
    """Write the energy of three days and their readings for two meters; the first one has a tariff."""
    with config_engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO registers VALUES ('t', 0, 'importActiveEnergy', 'kWh', 5, 4, 2, 2);"
            "INSERT INTO energy_meters (id, host, port, slave_address, type, description, tariff) VALUES"
            " (1, 'a', 502, 1, 't', 'mains', 'house'), (2, 'b', 502, 1, 't', NULL, NULL)"
        )
        connection.exec_driver_sql(
            "INSERT INTO tariffs VALUES ('house', '2026-01-01', '1-7', '0:00', '0:00', 0.3, 0, 'CHF')"
        )
        for day in range(3):
            time = BEGIN if day == 0 else BEGIN + timedelta(hours=24 * day - 1)
            connection.exec_driver_sql(
                "INSERT INTO emm_energy VALUES"
                f" ('{time}', 1, 'mains', '{NAME}', 'kWh', 'day', {day + 0.5}, 99.5, {0.125 + day}, 0, 1440, NULL),"
                f" ('{time}', 2, NULL, '{NAME}', 'kWh', 'day', 7, 100, NULL, 0, 1440, 'reset,estimated')"
            )
        connection.exec_driver_sql(
            "INSERT INTO readings SELECT time, 1, 'mains', 'voltage, L1', 'V', 230.1"
            f" FROM generate_series('{BEGIN}'::timestamptz, '{BEGIN + timedelta(days=2)}', '1 hour') AS every(time)"
        )


@pytest.fixture
def berlin(emm, energies):
    def run(*arguments):
        result = emm(*arguments, TZ="Europe/Berlin")
        assert result.returncode == 0, result.stderr
        return result

    return run


DAYS = ("--from", "2026-03-29", "--to", "2026-03-30")


def test_the_energy_of_days_is_a_table_with_coverage_flags_and_cost(berlin):
    shown = berlin("energy", *DAYS, "--cost").stdout
    lines = [line.split() for line in shown.splitlines()]
    assert lines[1] == ["2026-03-29", "1", "mains", "importActiveEnergy", "0.500", "kWh", "100", "%", "0.13", "CHF"]
    assert lines[2][-2:] == ["1.13", "CHF"]
    assert lines[3] == ["2026-03-29", "2", "importActiveEnergy", "7.000", "kWh", "100", "%", "reset,", "estimated"]
    assert len(lines) == 5


def test_a_program_gets_json_csv_or_parquet_of_one_meter(berlin, tmp_path):
    (row,) = json.loads(berlin("energy", "mains", "--from", "2026-03-29", "--to", "2026-03-29", "--json").stdout)
    assert row["time"] == "2026-03-29T00:00:00+01:00"
    assert (row["id"], row["energy"], row["unit"], row["flags"]) == (1, 0.5, "kWh", None)
    rows = list(csv.DictReader(io.StringIO(berlin("energy", "1", *DAYS, "--cost", "--csv").stdout)))
    assert [(each["energy"], each["cost"], each["currency"]) for each in rows] == [
        ("0.5", "0.13", "CHF"),
        ("1.5", "1.13", "CHF"),
    ]
    file = tmp_path / "energy.parquet"
    berlin("energy", *DAYS, "--parquet", file)
    assert pq.read_table(file).column("energy").to_pylist() == [0.5, 1.5, 7.0, 7.0]


def test_the_limit_and_the_tariff_of_a_meter_can_be_edited(emm, energies, config_engine):
    edited = emm("meters", "edit", "2", "--max-power", "25000", "--tariff", "house", "--json")
    assert edited.returncode == 0, edited.stderr
    with config_engine.connect() as connection:
        row = connection.exec_driver_sql("SELECT max_power_w, tariff FROM energy_meters WHERE id = 2").one()
    assert tuple(row) == (25000.0, "house")


def test_a_time_without_energy_says_what_computes_it(berlin):
    result = berlin("energy", "--from", "2020-01-01", "--to", "2020-01-02", "--json")
    assert json.loads(result.stdout) == []
    assert "docs/energy.md" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--from", "yesterday"), "'yesterday' is neither a date nor a time"),
        (("--from", "2026-03-02", "--to", "2026-03-01"), "--from 2026-03-02 00:00 is not before --to 2026-03-02 00:00"),
        (("--json", "--csv"), "give one of --json, --csv and --parquet"),
        (("nothing",), "no meter has the id or description 'nothing'"),
    ],
)
def test_a_wrong_argument_is_named(emm, energies, arguments, reason):
    result = emm("energy", *arguments)
    assert result.returncode == 2
    assert reason in result.stderr


def test_an_export_has_every_reading_of_the_days_with_local_times(berlin, tmp_path):
    shown = berlin("export", *DAYS).stdout
    rows = list(csv.DictReader(io.StringIO(shown)))
    assert len(rows) == 23 + 24
    assert rows[0] == {
        "time": "2026-03-29T00:00:00+01:00",
        "id": "1",
        "measurement": "voltage, L1",
        "unit": "V",
        "value": "230.1",
    }
    lines = berlin("export", "mains", *DAYS, "--json").stdout.splitlines()
    assert json.loads(lines[-1])["time"] == "2026-03-30T23:00:00+02:00"
    assert len(lines) == 47
    file = tmp_path / "readings.parquet"
    assert f"47 readings written to {file}" in berlin("export", *DAYS, "--parquet", file).stderr
    assert pq.read_table(file).column("value").to_pylist() == [230.1] * 47


def test_an_export_into_a_file_that_cannot_be_written_leaves_none(emm, energies, tmp_path):
    result = emm("export", "--output", tmp_path / "absent" / "readings.csv")
    assert result.returncode == 1
    assert "readings.csv cannot be written" in result.stderr
    assert list(tmp_path.iterdir()) == []
