"""`emm …` for people and programs: output, exit codes, errors."""

import json

import pytest
from support.meters import SimulatedUnit, encode_value, holding, inputs
from support.ports import free_port

from emm_pipeline.fleet import DataType
from emm_pipeline.stores.outbox.folder import Outbox


@pytest.fixture
def meters(config_engine, simulated_gateway):
    """Meter 1 replies, meter 2 is a closed port."""
    words = {(4, address): 0 for address in range(2)} | inputs(0, encode_value(230.5, DataType.FLOAT))
    port = simulated_gateway({1: SimulatedUnit(words)}).port
    with config_engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO registers VALUES ('sdm630', 0, 'voltageL1', 'V', 3, 4, 2, 2)")
        connection.exec_driver_sql(
            f"INSERT INTO energy_meters VALUES (1, '127.0.0.1', {port}, 1, 'sdm630', 'mains [red]'),"
            f" (2, '127.0.0.1', {free_port()}, 1, 'sdm630', NULL)"
        )


def execute(config_engine, statement):
    with config_engine.begin() as connection:
        connection.exec_driver_sql(statement)


def stored(config_engine):
    with config_engine.connect() as connection:
        return connection.exec_driver_sql("SELECT id, value FROM readings").all()


def test_a_dry_run_prints_what_meters_say_and_stores_nothing(emm, meters, config_engine):
    result = emm("poll", "1", "--dry-run")
    assert result.returncode == 0, result.stderr
    (row,) = [line for line in result.stdout.splitlines() if "voltageL1" in line]
    assert "230.5" in row
    assert "mains [red]" in row
    assert "not stored" in result.stdout
    assert not stored(config_engine)


def test_without_dry_run_the_readings_are_stored(emm, meters, config_engine):
    assert emm("poll", "1").returncode == 0
    assert stored(config_engine) == [(1, 230.5)]


def test_points_that_the_store_took_are_stored_also_where_the_outbox_is_full_of_others(
    emm, meters, config_engine, tmp_path
):
    box = Outbox(tmp_path / "outbox", 10**9)
    box.rejected_folder.mkdir(parents=True)
    (box.rejected_folder / "20260301T120000.000000Z-run.points.damaged").write_bytes(bytes(2_000_000))
    result = emm("poll", "1", OUTBOX_MAX_MB="1")
    assert "the outbox is full (OUTBOX_MAX_MB)" in result.stderr
    assert stored(config_engine) == [(1, 230.5)]
    assert result.stdout.splitlines()[-1] == "1 of 1 meters read, 1 points, stored"
    assert result.returncode == 1, "others are lost"


def test_points_that_the_store_did_not_accept_are_reported_as_waiting(emm, meters, config_engine, tmp_path):
    execute(config_engine, "DROP TABLE readings")
    result = emm("poll", "1")
    assert result.returncode == 1
    assert result.stdout.splitlines()[-1] == "1 of 1 meters read, 1 points, not stored yet: waiting in the outbox"
    assert len(Outbox(tmp_path / "outbox", 10**9).names()) == 1


def test_points_that_are_neither_in_the_store_nor_in_the_outbox_are_reported_to_be_lost(
    emm, meters, config_engine, tmp_path
):
    execute(config_engine, "DROP TABLE readings")
    (tmp_path / "outbox").write_text("a file where the folder should be")
    result = emm("poll", "1")
    assert result.returncode == 1
    assert result.stdout.splitlines()[-1].endswith("1 points, not stored: lost")


def test_all_meters_are_polled_by_default_and_a_dead_one_is_named_and_makes_the_exit_code_1(emm, meters, config_engine):
    result = emm("poll")
    assert result.returncode == 1
    assert "refused" in result.stdout
    assert "1 of 2 meters read" in result.stdout
    assert stored(config_engine) == [(1, 230.5)]


def test_a_meter_can_be_named_by_its_description(emm, meters):
    assert "230.5" in emm("poll", "mains [red]", "--dry-run").stdout


def test_json_is_for_programs(emm, meters):
    result = emm("poll", "--dry-run", "--json")
    data = json.loads(result.stdout)
    assert [(reading["id"], reading["value"], reading["unit"]) for reading in data["readings"]] == [(1, 230.5, "V")]
    assert data["readings"][0]["time"].endswith("+00:00")
    assert [failed["id"] for failed in data["failed"]] == [2]


def test_unsupported_registers_are_printed_and_are_not_a_failure(emm, meters, config_engine):
    with config_engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO registers VALUES ('sdm630', 8, 'frequency', 'Hz', 3, 4, 2, 2)")
    result = emm("poll", "1", "--dry-run")
    assert result.returncode == 0, result.stderr
    assert "230.5" in result.stdout
    assert "registers 8-9 (frequency): refused with exception 2 (illegal data address)" in result.stdout
    assert "(frequency)" in json.loads(emm("poll", "1", "--dry-run", "--json").stdout)["findings"][0]


def test_a_clock_before_the_newest_reading_is_reported_and_the_reading_is_kept(emm, meters, config_engine):
    with config_engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO meter_status (id, last_read_at) VALUES (1, '2100-01-01 00:00+00')")
    result = emm("poll", "1")
    assert result.returncode == 0
    (said,) = result.stderr.strip().splitlines()
    assert said.startswith("clock: the clock of this computer is wrong")
    assert "a reading of 2100-01-01 00:00:00 UTC is stored" in said
    assert stored(config_engine) == [(1, 230.5)]
    assert "2100-01-01" in json.loads(emm("poll", "1", "--dry-run", "--json").stdout)["clock_issue"]

    listed = json.loads(emm("meters", "list", "--json").stdout)
    (first, _) = listed
    assert (first["status"], "2100-01-01" in first["reason"]) == ("degraded", True)
    assert emm("meters", "list").stdout.count("the clock of this computer is wrong") == 1


@pytest.mark.parametrize("name", ["boiler", "77"])
def test_an_unknown_meter_is_an_error_that_names_it(emm, meters, name):
    result = emm("poll", name, "--dry-run")
    assert result.returncode in {1, 2}
    assert name in result.stdout + result.stderr
    assert "Traceback" not in result.stderr


def test_an_empty_database_is_reported_as_having_no_meters(emm):
    result = emm("poll", "--dry-run")
    assert result.returncode == 2
    assert "energy_meters" in result.stderr


def test_a_database_that_cannot_be_reached_is_named_without_its_password(emm):
    result = emm("poll", POSTGRES_HOST="127.0.0.1", POSTGRES_PORT=str(free_port()), POSTGRES_PASSWORD="hunter2")
    assert result.returncode == 1
    assert "127.0.0.1" in result.stderr
    assert "hunter2" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_wrong_setting_is_named_with_what_is_allowed(emm):
    result = emm("poll", INFLUX_UPDATER_CRON_HOUR_TRIGGER="25")
    assert result.returncode == 2
    assert "INFLUX_UPDATER_CRON_HOUR_TRIGGER='25'" in result.stderr


def test_a_missing_settings_file_is_named(emm):
    result = emm("--env-file", "/nowhere/demo.env", "poll")
    assert result.returncode == 2
    assert "/nowhere/demo.env" in result.stderr


def test_the_tables_are_upgraded_and_checked(emm):
    assert emm("db", "check").returncode == 0
    again = emm("db", "upgrade")
    assert again.returncode == 0, again.stderr
    assert emm("db", "check", POSTGRES_DB="template1").returncode == 1


@pytest.mark.parametrize("command", [[], ["poll"], ["demo"], ["db"], ["db", "upgrade"]])
def test_every_command_explains_itself(emm, command):
    result = emm(*command, "--help")
    assert result.returncode == 0
    assert "Usage:" in result.stdout


def test_json_has_every_digit_and_tables_have_every_digit_of_a_counter(emm, config_engine, simulated_gateway):
    words = holding(0, encode_value(1e-12, DataType.FLOAT64)) | holding(4, encode_value(123456789, DataType.LONG))
    port = simulated_gateway({1: SimulatedUnit(words)}).port
    with config_engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO registers VALUES ('t', 0, 'tiny', NULL, 8, 3, 2, 2), ('t', 4, 'import', 'Wh', 2, 3, 2, 2)"
        )
        connection.exec_driver_sql(f"INSERT INTO energy_meters VALUES (5, '127.0.0.1', {port}, 1, 't', NULL)")
    readings = json.loads(emm("poll", "--dry-run", "--json").stdout)["readings"]
    assert {reading["measurement"]: reading["value"] for reading in readings} == {"tiny": 1e-12, "import": 123456789.0}
    assert "123456789" in emm("poll", "--dry-run").stdout


def test_a_number_is_an_id_also_where_a_description_is_the_same(emm, meters, config_engine):
    with config_engine.begin() as connection:
        connection.exec_driver_sql("UPDATE energy_meters SET description = '1' WHERE id = 2")
        connection.exec_driver_sql("UPDATE energy_meters SET id = -7 WHERE id = 2")
    assert "1 of 1 meters read" in emm("poll", "1", "--dry-run").stdout
    assert "0 of 1 meters read" in emm("poll", "--dry-run", "--", "-7").stdout


def test_what_a_person_mistypes_is_an_error_of_one_line(emm, tmp_path):
    (tmp_path / "file").write_bytes(b"\xff\xfe")
    for arguments in (
        ["demo", "--port", "70000"],
        ["demo", "--data-dir", str(tmp_path / "file")],
        ["--env-file", str(tmp_path / "file"), "poll"],
    ):
        result = emm(*arguments)
        assert result.returncode == 2, result.stderr
        assert "Traceback" not in result.stderr
