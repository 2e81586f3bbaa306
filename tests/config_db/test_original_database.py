"""An upgraded database of the original project: its rows stay, and it works as a new one does."""

import os
import sys

import pytest
from support.meters import SimulatedUnit, encode_value, inputs

from emm_pipeline.catalog import load_catalogue
from emm_pipeline.cli.demo.processes import ProcessGroup, free_port, listens
from emm_pipeline.config_db.loader import load_fleet
from emm_pipeline.config_db.upgrade import check, upgrade
from emm_pipeline.fleet import DataType
from emm_pipeline.settings import PROJECT_ROOT
from tools.walkthrough.steps import Walkthrough

TABLES = """
    CREATE TABLE energy_meters (
        id integer PRIMARY KEY,
        host varchar(64) NOT NULL,
        port integer NOT NULL,
        slave_address integer NOT NULL,
        type varchar(32) NOT NULL,
        description varchar(64) NOT NULL
    );
    CREATE TABLE registers (
        type varchar(32) NOT NULL,
        register_address integer NOT NULL,
        measurement_name varchar(64) NOT NULL,
        data_unit varchar(8) NOT NULL,
        data_type integer NOT NULL CHECK (data_type BETWEEN 1 AND 3),
        function_code integer NOT NULL CHECK (function_code BETWEEN 3 AND 4),
        word_order integer NOT NULL CHECK (word_order BETWEEN 1 AND 2),
        byte_order integer NOT NULL CHECK (byte_order BETWEEN 1 AND 2)
    );
    INSERT INTO registers VALUES
        ('sdm630_short', 0, 'voltageL1', 'V', 3, 4, 2, 2), ('sdm630_short', 52, 'activePower', 'W', 3, 4, 2, 2);
"""


@pytest.fixture
def original(config_engine, simulated_gateway):
    """A database of the original project, with a meter that answers."""
    words = inputs(0, encode_value(230.5, DataType.FLOAT)) | inputs(52, encode_value(-1500.0, DataType.FLOAT))
    port = simulated_gateway({1: SimulatedUnit({(4, address): 0 for address in range(54)} | words)}).port
    with config_engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        connection.exec_driver_sql(TABLES)
        connection.exec_driver_sql(
            f"INSERT INTO energy_meters VALUES (0, '127.0.0.1', {port}, 1, 'sdm630_short', 'example')"
        )
    return config_engine


def test_its_rows_stay_and_the_removed_limits_are_reported(original):
    before = load_fleet(original)
    notes = upgrade(original)
    assert load_fleet(original) == before
    assert [meter.description for meter in before.meters] == ["example"]
    assert check(original).up_to_date
    assert "energy_meters.description was NOT NULL, and may be null now" in notes
    assert "registers.data_unit was character varying(8), and is text now" in notes
    assert any(note.startswith("registers_data_type_check (") and note.endswith(": dropped") for note in notes)
    assert upgrade(original) == []


def test_every_type_of_the_catalogue_installs(emm, original):
    assert emm("db", "check").returncode == 1
    upgraded = emm("db", "upgrade")
    assert upgraded.returncode == 0, upgraded.stderr
    installed = emm("types", "install", *load_catalogue())
    assert installed.returncode == 0, installed.stderr
    types = load_fleet(original, all_types=True).types
    assert {name: types[name] for name in load_catalogue()} == {
        name: entry.meter_type for name, entry in load_catalogue().items()
    }


def test_every_command_of_the_walkthrough_works_and_the_old_meter_is_polled(emm, original, tmp_path):
    port = free_port()
    with ProcessGroup(tmp_path) as processes:
        arguments = ["--host", "127.0.0.1", "--port", str(port)]
        command = [sys.executable, "-m", "tools.walkthrough.units", *arguments]
        processes.start("units", command, os.environ | {"PYTHONPATH": str(PROJECT_ROOT)})
        while not listens(port):
            processes.check()
        Walkthrough(emm.settings, f"127.0.0.1:{port}", lambda arguments, _: emm(*arguments)).run()
    with original.connect() as connection:
        readings = connection.exec_driver_sql("SELECT measurement, value FROM readings WHERE id = 0 ORDER BY value")
        assert [tuple(row) for row in readings] == [("activePower", -1500.0), ("voltageL1", 230.5)]
