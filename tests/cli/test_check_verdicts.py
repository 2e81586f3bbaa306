"""`emm meters check` says OK, OK with notes, or FAILED: no failure for what a poll copes with. (F7)"""

import json

import pytest
from support.meters import SimulatedUnit, encode_value, holding

from emm_pipeline.fleet import DataType


@pytest.fixture
def meter(emm, config_engine, simulated_gateway):
    """Meter 1 of type t, with voltages at 0, 2 and 10: a function that takes the unit."""

    def make(unit, rows=((0, "voltageL1"), (2, "voltageL2"), (10, "voltageL3"))):
        gateway = simulated_gateway({1: unit})
        with config_engine.begin() as connection:
            for address, name in rows:
                connection.exec_driver_sql(f"INSERT INTO registers VALUES ('t', {address}, '{name}', 'V', 3, 3, 2, 2)")
            connection.exec_driver_sql(
                f"INSERT INTO energy_meters VALUES (1, '{gateway.host}', {gateway.port}, 1, 't', NULL)"
            )
        return gateway

    return make


VOLTS = encode_value(230.5, DataType.FLOAT)
WITHOUT_GAP = holding(0, VOLTS) | holding(2, VOLTS) | holding(10, VOLTS)


def printed_command(output, verb):
    """Return the words of the command that a note prints."""
    (line,) = [line.strip() for line in output.splitlines() if line.startswith(f"  emm {verb}")]
    return line.split()[1:]


def test_a_meter_that_refuses_gaps_is_ok_with_a_note_whose_command_removes_the_cause(emm, meter):
    meter(SimulatedUnit(WITHOUT_GAP))
    checked = emm("meters", "check")
    assert checked.returncode == 0, checked.stdout
    assert "OK with notes: 3 of 3 registers read one by one, 0 of 1 requests of a poll answered" in checked.stdout
    assert "failed" not in checked.stdout
    command = printed_command(checked.stdout, "types set")
    assert command == ["types", "set", "t", "max_gap=0"]
    changed = emm(*command)
    assert changed.returncode == 0, changed.stderr
    assert "max_gap 20 (default) → 0" in changed.stdout
    again = emm("meters", "check")
    assert "OK: 3 of 3 registers read one by one, 2 of 2 requests of a poll answered" in again.stdout
    assert emm("poll", "--dry-run").returncode == 0


def test_a_meter_that_sends_few_registers_at_once_gets_a_command_with_their_number(emm, meter):
    unit = SimulatedUnit(holding(0, VOLTS * 4), closes_on=lambda request: request.count > 4)
    meter(unit, rows=[(0, "voltageL1"), (2, "voltageL2"), (4, "voltageL3"), (6, "voltageL4")])
    checked = emm("meters", "check", "--json")
    (result,) = json.loads(checked.stdout)["meters"]
    assert (result["ok"], result["verdict"]) == (True, "OK with notes")
    assert result["notes"][0]["remedy"] == "emm types set t max_registers_per_request=4"


def test_a_register_that_the_device_refuses_fails_until_a_person_accepts_it(emm, meter):
    meter(SimulatedUnit(holding(0, VOLTS) | holding(2, VOLTS)))
    checked = emm("meters", "check")
    assert checked.returncode == 1
    assert "failed: exception 2 (illegal data address) for voltageL3" in checked.stdout
    assert "FAILED: 2 of 3 registers" in checked.stdout
    assert emm("registers", "accept-absent", "1", "voltageL3").returncode == 0
    accepted = emm("meters", "check")
    assert accepted.returncode == 0
    assert "note: refused, and accepted as absent: voltageL3" in accepted.stdout


def test_a_value_that_the_device_does_not_have_is_a_note_with_a_command(emm, meter):
    nan = encode_value(float("nan"), DataType.FLOAT)
    meter(SimulatedUnit(holding(0, VOLTS * 5) | holding(10, nan)))
    checked = emm("meters", "check")
    assert checked.returncode == 0
    assert "the device has no value for voltageL3" in checked.stdout
    assert printed_command(checked.stdout, "registers") == ["registers", "accept-absent", "1"]


def test_a_reply_slower_than_half_its_timeout_is_a_warning_with_a_command(emm, meter):
    meter(SimulatedUnit(WITHOUT_GAP, delay_s=1.2), rows=[(0, "voltageL1")])
    assert emm("types", "set", "t", "timeout_s=2").returncode == 0
    checked = emm("meters", "check")
    assert checked.returncode == 0
    assert "warning: the slowest reply took 1." in checked.stdout
    assert "of the 2 s that EMM waits for it" in checked.stdout
    assert printed_command(checked.stdout, "types set") == ["types", "set", "t", "timeout_s=4"]


def test_an_implausible_power_factor_is_marked(emm, config_engine, simulated_gateway):
    gateway = simulated_gateway({1: SimulatedUnit(holding(0, encode_value(14.0, DataType.FLOAT)))})
    with config_engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO registers VALUES ('pf', 0, 'powerFactorL1', NULL, 3, 3, 2, 2)")
    address = f"{gateway.host}:{gateway.port}"
    checked = emm("meters", "check", "--host", address, "--type", "pf")
    assert checked.returncode == 1
    assert "the value 14 is outside of -1.01 to 1.01" in checked.stdout
    assert "failed: no meter measures the values of powerFactorL1" in checked.stdout


def test_a_value_and_its_scale_are_read_in_one_request_as_a_poll_does(emm, config_engine, simulated_gateway):
    gateway = simulated_gateway({1: SimulatedUnit(holding(0, [2314, 0, 0xFFFF]))})  # 2314 * 10 ** -1
    with config_engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO registers (type, register_address, measurement_name, data_unit, data_type, function_code,"
            " word_order, byte_order, scale_register) VALUES ('scaled', 0, 'voltageL1', 'V', 1, 3, 2, 2, 2)"
        )
    checked = emm("meters", "check", "--host", f"{gateway.host}:{gateway.port}", "--type", "scaled", "--json")
    (result,) = json.loads(checked.stdout)["meters"]
    assert [each["value"] for each in result["registers"]] == [231.4]
    assert [each["words"] for each in result["registers"]] == [[2314]]
    assert {(request.address, request.count) for request in gateway.received} == {(0, 3)}


# emm types set


@pytest.fixture
def type_t(config_engine):
    with config_engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO registers VALUES ('t', 0, 'voltageL1', 'V', 3, 4, 2, 2)")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("max_gap=200", "allowed: 0 to 124"),
        ("timeout_s=soon", "timeout_s is 'soon'"),
        ("max_registers_per_request=1", "voltageL1 takes 2 registers, but max_registers_per_request is 1"),
        ("max_gpa=0", "did you mean 'max_gap'?"),
        ("max_gap", "is not NAME=VALUE"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_is_right(emm, type_t, setting, said):
    done = emm("types", "set", "t", setting)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_setting_can_be_removed_again(emm, type_t, config_engine):
    assert emm("types", "set", "t", "max_gap=0", "keep_connection=yes").returncode == 0
    assert "max_gap 0 → 20 (default)" in emm("types", "set", "t", "max_gap=default", "keep_connection=default").stdout
    with config_engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT * FROM meter_types").all() == []


def test_a_type_of_the_catalogue_must_be_installed_first(emm):
    done = emm("types", "set", "sdm630", "max_gap=0")
    assert done.returncode == 2
    assert "emm types install sdm630" in done.stderr
