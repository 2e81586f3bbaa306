"""`emm meters add` tests a meter first, and installs its type. (F15)"""

import json
import os
import pty
import subprocess

import pytest
from support.command_line import EMM
from support.meters import SimulatedUnit, encode_registers

from emm_pipeline.catalog import load_catalogue

SDM630 = load_catalogue()["sdm630"].meter_type


@pytest.fixture
def place(simulated_gateway):
    """A gateway with an SDM630 as unit 1 and a silent unit 2."""
    unit = SimulatedUnit(encode_registers(SDM630, {"voltageL1": 231.4, "currentL1": 4.25}))
    gateway = simulated_gateway({1: unit})
    return f"{gateway.host}:{gateway.port}"


def meters(config_engine):
    with config_engine.connect() as connection:
        return connection.exec_driver_sql("SELECT id, slave_address, type FROM energy_meters ORDER BY id").all()


def types(config_engine):
    with config_engine.connect() as connection:
        return set(connection.exec_driver_sql("SELECT type FROM registers").scalars())


def test_with_yes_the_type_is_installed_and_the_meter_tested_and_added(emm, place, config_engine):
    done = emm("meters", "add", place, "--unit", 1, "--type", "sdm630", "--yes")
    assert done.returncode == 0, done.stderr
    assert f"OK: {len(SDM630.registers)} of {len(SDM630.registers)} registers" in done.stdout
    assert "compare with its display: voltageL1 231.4 V, currentL1 4.25 A" in done.stdout
    assert "installed type sdm630" in done.stdout
    assert meters(config_engine) == [(1, 1, "sdm630")]
    assert types(config_engine) == {"sdm630"}


def test_a_meter_whose_test_fails_is_not_added_by_a_script(emm, place, config_engine):
    assert emm("types", "install", "sdm630").returncode == 0
    done = emm("meters", "add", place, "--unit", 2, "--type", "sdm630")
    assert done.returncode == 1
    assert "exception 11 (gateway target device did not respond)" in done.stdout
    assert "add --no-test" in done.stderr
    assert meters(config_engine) == []
    assert emm("meters", "add", place, "--unit", 2, "--type", "sdm630", "--no-test").returncode == 0
    assert emm("meters", "add", place, "--unit", 3, "--type", "sdm630", "--yes").returncode == 0
    assert len(meters(config_engine)) == 2


def test_a_type_that_is_not_installed_is_an_error_for_a_script_and_nothing_is_written(emm, place, config_engine):
    done = emm("meters", "add", place, "--unit", 1, "--type", "sdm630")
    assert done.returncode == 2
    assert "emm types install sdm630" in done.stderr
    assert (meters(config_engine), types(config_engine)) == ([], set())


def test_json_contains_the_test(emm, place):
    done = emm("meters", "add", place, "--unit", 1, "--type", "sdm630", "--yes", "--json")
    added = json.loads(done.stdout)
    assert (added["id"], added["test"]["verdict"]) == (1, "OK")


def test_a_disabled_meter_is_not_tested(emm, place):
    assert emm("types", "install", "sdm630").returncode == 0
    done = emm("meters", "add", place, "--unit", 2, "--type", "sdm630", "--disabled")
    assert done.returncode == 0, done.stderr


def test_a_unit_id_that_does_not_exist_is_named_as_the_option(emm, place):
    done = emm("meters", "add", place, "--unit", 500, "--type", "sdm630")
    assert done.returncode == 2
    assert "'--unit': 500 is not in the range" in done.stderr


@pytest.mark.parametrize(("answers", "added"), [(b"y\ny\n", True), (b"y\nn\n", False), (b"n\n", False)])
def test_on_a_terminal_it_asks_before_it_installs_and_before_it_adds_a_meter_whose_test_failed(
    emm, place, config_engine, answers, added
):
    ours, theirs = pty.openpty()
    os.write(ours, answers)
    command = [EMM, "meters", "add", place, "--unit", "2", "--type", "sdm630"]
    try:
        done = subprocess.run(
            command,
            stdin=theirs,
            stderr=theirs,
            stdout=subprocess.PIPE,
            env=os.environ | emm.settings,
            timeout=120,
            check=False,
        )
        asked = os.read(ours, 100_000).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert "Type sdm630 is not in the database. Install it from the catalogue?" in asked
    assert ("Add the meter all the same?" in asked) == (answers != b"n\n")
    assert bool(meters(config_engine)) == added
    assert bool(types(config_engine)) == added
    assert done.returncode == (0 if added else 130)
