"""`energy_meters.transport` and `serial_settings`, and the pauses of `meter_types`: rows, old and new."""

import pytest
from sqlalchemy import text

from emm_pipeline.config_db.loader import load_fleet
from emm_pipeline.config_db.validation import check_rows
from emm_pipeline.config_db.values import InvalidValueError, serial_settings
from emm_pipeline.fleet import TransportKind

REGISTER = {
    "type": "t",
    "register_address": 0,
    "measurement_name": "voltage",
    "data_unit": "V",
    "data_type": 3,
    "function_code": 4,
    "word_order": 2,
    "byte_order": 2,
}
METER = {"id": 1, "host": "10.0.0.5", "port": 502, "slave_address": 1, "type": "t", "description": None}
SERIAL = {"host": "/dev/ttyUSB0", "port": 1, "transport": "serial"}


def checked(**columns):
    return check_rows([METER | columns], [REGISTER], [])


@pytest.mark.parametrize("columns", [{}, {"transport": None}, {"transport": "tcp"}, {"transport": " TCP "}])
def test_a_meter_is_read_over_modbus_tcp_unless_its_row_says_otherwise(columns):
    [meter] = checked(**columns).meters
    assert (meter.transport, meter.gateway.name) == (TransportKind.TCP, "tcp 10.0.0.5:502")


def test_a_serial_line_is_named_by_its_device():
    [meter] = checked(**SERIAL, serial_settings="19200 8E1").meters
    assert (meter.gateway.name, meter.gateway.serial_settings) == ("serial /dev/ttyUSB0", "19200 8E1")
    assert str(meter) == "meter 1 at /dev/ttyUSB0 unit 1"


def test_a_serial_line_without_settings_has_the_usual_ones():
    [meter] = checked(**SERIAL).meters
    assert meter.serial_settings == "9600 8N1"


@pytest.mark.parametrize(
    ("columns", "column"),
    [
        ({"transport": "ascii"}, "transport"),
        ({**SERIAL, "serial_settings": "fast"}, "serial_settings"),
        ({**SERIAL, "port": 502}, "port"),
        ({"transport": "serial", "port": 1}, "host"),
    ],
)
def test_an_impossible_value_is_a_configuration_issue_of_its_column(columns, column):
    fleet = checked(**columns)
    assert fleet.meters == ()
    assert [issue.column for issue in fleet.issues] == [column]


@pytest.mark.parametrize("written", ["9600 8N1", "9600,8n1", "9600 8-N-1", "9600/8N1"])
def test_serial_settings_are_understood_as_people_write_them(written):
    assert serial_settings(written) == "9600 8N1"


@pytest.mark.parametrize("written", ["", "8N1", "9600", "9600 9N1", "9600 8X1", "0 8N1"])
def test_other_serial_settings_are_refused_with_an_example(written):
    with pytest.raises(InvalidValueError, match="such as 9600 8N1"):
        serial_settings(written)


def test_the_database_accepts_valid_rows_and_refuses_impossible_ones(config_engine):
    columns = "INSERT INTO energy_meters (id, host, port, slave_address, type, transport, serial_settings) VALUES "
    with config_engine.begin() as connection:
        connection.execute(text("INSERT INTO registers VALUES ('t', 0, 'voltage', 'V', 3, 4, 2, 2)"))
        connection.execute(text("INSERT INTO energy_meters VALUES (1, '10.0.0.5', 502, 1, 't', NULL)"))
        connection.execute(text(columns + "(2, '/dev/ttyUSB0', 1, 2, 't', 'serial', '9600 8N1')"))
    assert [meter.transport for meter in load_fleet(config_engine).meters] == ["tcp", "serial"]
    for values in ("'h', 502, 1, 't', 'x', NULL", "'/d', 502, 1, 't', 'serial', NULL", "'h', 502, 1, 't', 'tcp', 'x'"):
        with pytest.raises(Exception, match="energy_meters_"), config_engine.begin() as connection:
            connection.execute(text(f"{columns}(3, {values})"))


def test_the_pauses_of_a_type_reach_its_meters(config_engine):
    with config_engine.begin() as connection:
        connection.execute(text("INSERT INTO registers VALUES ('t', 0, 'voltage', 'V', 3, 4, 2, 2)"))
        connection.execute(text("INSERT INTO energy_meters VALUES (1, '10.0.0.5', 502, 1, 't', NULL)"))
        columns = "type, connect_pause_s, keep_connection, reopen_pause_s"
        connection.execute(text(f"INSERT INTO meter_types ({columns}) VALUES ('t', 2.5, true, 10)"))
    meter_type = load_fleet(config_engine).types["t"]
    settings = (meter_type.connect_pause_s, meter_type.keep_connection, meter_type.reopen_pause_s)
    assert settings == (2.5, True, 10)
