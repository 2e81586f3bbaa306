"""The database rejects invalid rows, and accepts the INSERT statements of people's scripts."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, Text, text
from sqlalchemy.exc import IntegrityError
from support.postgres import create_database

from emm_pipeline.config_db.editing.register_rows import REGISTER_COLUMNS, SETTING_COLUMNS, TEXT_COLUMNS
from emm_pipeline.config_db.engine import create_config_engine
from emm_pipeline.config_db.loader import load_fleet
from emm_pipeline.config_db.tables import meter_types, registers
from emm_pipeline.embedded_postgres import EmbeddedPostgres
from emm_pipeline.fleet import DataType

METER = {"id": 1, "host": "10.0.0.1", "port": 502, "slave_address": 1, "type": "sdm630", "description": None}
REGISTER = {
    "type": "sdm630",
    "register_address": 0,
    "measurement_name": "voltageL1",
    "data_unit": "V",
    "data_type": 3,
    "function_code": 4,
    "word_order": 2,
    "byte_order": 2,
    "scale": 1,
    "invalid_value": None,
    "scale_register": None,
    "model": None,
}
METER_TYPE = {
    "type": "sdm630",
    "max_registers_per_request": 80,
    "max_gap": 10,
    "timeout_s": 3,
    "request_pause_s": 0,
}


def test_records_files_and_tables_have_the_same_columns_in_the_same_order():
    assert tuple(registers.columns.keys()) == REGISTER_COLUMNS
    assert tuple(meter_types.columns.keys()) == ("type", *SETTING_COLUMNS)
    texts = [column.name for column in registers.columns if isinstance(column.type, Text)]
    assert tuple(texts) == TEXT_COLUMNS


@pytest.fixture(scope="module")
def engine(postgres: EmbeddedPostgres, migrated_template: str) -> Iterator[Engine]:
    engine = create_config_engine(create_database(postgres, migrated_template))
    yield engine
    engine.dispose()


@pytest.fixture
def database(engine: Engine) -> Iterator[Connection]:
    """A connection to an empty configuration database, whose changes are rolled back."""
    with engine.connect() as connection:
        yield connection


def insert(connection: Connection, table: str, row: dict) -> None:
    names, marks = ", ".join(row), ", ".join(f":{name}" for name in row)
    connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({marks})"), row)


def test_the_insert_lines_of_the_manual_work(config_engine):
    with config_engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO energy_meters VALUES (1, '127.0.0.1', 502, 1, 'virtual_modbustcp', NULL)"
        )
        connection.exec_driver_sql(
            "INSERT INTO registers VALUES ('virtual_modbustcp', 0, 'test_measurement', 'test_u', 1, 3, 2, 2)"
        )
    fleet = load_fleet(config_engine)
    assert fleet.issues == ()
    assert [str(meter) for meter in fleet.meters] == ["meter 1 at 127.0.0.1:502 unit 1"]
    assert fleet.types["virtual_modbustcp"].registers[0].scale == 1.0


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("id", None),
        ("host", None),
        ("host", ""),
        ("host", "  "),
        ("port", None),
        ("port", 0),
        ("port", 65536),
        ("slave_address", None),
        ("slave_address", -1),
        ("slave_address", 256),
        ("type", None),
        ("type", " "),
        ("enabled", None),
    ],
)
def test_an_invalid_meter_is_refused(database, column, value):
    with pytest.raises(IntegrityError, match=f"energy_meters_{column}|null value"):
        insert(database, "energy_meters", METER | {column: value})


@pytest.mark.parametrize(
    ("column", "value"),
    [("id", 0), ("id", -5), ("port", 1), ("port", 65535), ("slave_address", 0), ("slave_address", 255)],
)
def test_a_meter_at_the_limits_of_the_allowed_values_is_accepted(database, column, value):
    insert(database, "energy_meters", METER | {column: value})


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("type", None),
        ("type", ""),
        ("register_address", None),
        ("register_address", -1),
        ("register_address", 65535),  # a FLOAT takes two
        ("register_address", 65536),
        ("measurement_name", None),
        ("measurement_name", " "),
        ("data_type", 0),
        ("data_type", 18),
        ("data_type", None),
        ("function_code", 0),
        ("function_code", 5),
        ("function_code", None),
        ("word_order", 0),
        ("word_order", 3),
        ("word_order", None),
        ("byte_order", 0),
        ("byte_order", 3),
        ("byte_order", None),
        ("scale", 0),
        ("scale", float("nan")),
        ("scale", float("-inf")),
        ("invalid_value", float("nan")),
        ("scale_register", -1),
        ("scale_register", 65536),
        ("model", 0),
        ("model", 65535),
        ("model", 103),  # an input register
        ("bits", {"function_code": 1}),  # a float
        ("value_offset", float("nan")),
        ("mask", 0),
        ("invalid_values", [1, float("nan")]),
        ("sign_register", {"sign_register": -1, "sign_mask": 1}),
        ("sign_mask", {"sign_register": 5}),
        ("sign_mask", {"sign_mask": 5}),
        ("sign_mask", {"sign_register": 5, "sign_mask": 65536}),
        ("model_copy", 0),
        ("high_register_address", 65536),
        ("length", 5),  # no text
        ("length", {"data_type": 17}),
        ("length", {"data_type": 17, "length": 126}),
        ("register_address", {"data_type": 17, "length": 4, "register_address": 65533}),
    ],
)
def test_an_invalid_register_is_refused(database, column, value):
    with pytest.raises(IntegrityError, match=f"registers_{column}"):
        insert(database, "registers", REGISTER | (value if isinstance(value, dict) else {column: value}))


@pytest.mark.parametrize(
    "columns",
    [
        {"data_type": 9, "function_code": 1},
        {"data_type": 9, "function_code": 2, "register_address": 65535},
        {"data_type": 9, "mask": 0x8000},
        *({"data_type": data_type} for data_type in range(10, 17)),
        {"data_type": 17, "length": 125},
        {"value_offset": -100, "mask": 2**63 - 1, "invalid_values": [65535, 32767, -1.5], "absolute": True},
        {"sign_register": 65535, "sign_mask": 0x8000, "high_register_address": 0},
        {"model": 203, "function_code": 3, "model_copy": 3},
        {"uses_factor": True, "stored": False},
        dict.fromkeys(["value_offset", "absolute", "model_copy", "uses_factor", "stored", "invalid_values"]),
    ],
)
def test_a_register_with_further_columns_is_accepted(database, columns):
    insert(database, "registers", REGISTER | columns)


COMBINED = {"type": "t", "measurement_name": "gridPower", "data_unit": "W", "part": "importPower", "factor": -1}


@pytest.mark.parametrize(
    ("column", "value"),
    [("type", " "), ("measurement_name", None), ("part", ""), ("factor", 0), ("factor", float("nan"))],
)
def test_a_part_of_a_sum_that_can_never_be_right_is_refused(database, column, value):
    insert(database, "combined_measurements", COMBINED)
    with pytest.raises(IntegrityError, match=f"combined_measurements_{column}"):
        insert(database, "combined_measurements", COMBINED | {column: value})


@pytest.mark.parametrize("value", [0, float("inf")])
def test_a_meters_factor_that_can_never_be_right_is_refused(database, value):
    insert(database, "energy_meters", METER | {"factor": -40, "may_be_off": True})
    with pytest.raises(IntegrityError, match="energy_meters_factor"):
        insert(database, "energy_meters", METER | {"id": 2, "factor": value})


@pytest.mark.parametrize(
    ("data_type", "last_address"),
    [(1, 65535), (2, 65534), (3, 65534), (4, 65535), (5, 65534), (6, 65532), (7, 65532), (8, 65532)],
)
def test_a_register_may_end_at_the_last_address_and_not_beyond(database, data_type, last_address):
    row = REGISTER | {"data_type": data_type, "register_address": last_address}
    insert(database, "registers", row)
    assert last_address + DataType(data_type).count == 65536
    with pytest.raises(IntegrityError, match="registers_register_address"):
        insert(database, "registers", row | {"register_address": last_address + 1})


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("type", " "),
        ("max_registers_per_request", 0),
        ("max_registers_per_request", 126),
        ("max_gap", -1),
        ("max_gap", 125),
        ("timeout_s", 0),
        ("timeout_s", 60.5),
        ("timeout_s", float("nan")),
        ("request_pause_s", -0.1),
        ("request_pause_s", 10.1),
    ],
)
def test_an_invalid_meter_type_is_refused(database, column, value):
    with pytest.raises(IntegrityError, match=f"meter_types_{column}"):
        insert(database, "meter_types", METER_TYPE | {column: value})


def test_a_point_cannot_be_in_the_readings_twice_even_without_a_unit(database):
    row = {"time": "2026-01-01T00:00:00Z", "id": 1, "measurement": "m", "unit": None, "value": 1.0}
    insert(database, "readings", row)
    insert(database, "readings", row | {"unit": "W"})
    with pytest.raises(IntegrityError, match="readings_series"):
        insert(database, "readings", row | {"value": 2.0})
