"""The status of meters between runs."""

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from emm_pipeline.config_db.device_state.fingerprints import fingerprint, fingerprints
from emm_pipeline.config_db.device_state.meter_status import (
    MeterStatus,
    forget,
    load_statuses,
    save_configurations,
    save_results,
)
from emm_pipeline.errors import ConfigDatabaseError
from emm_pipeline.fleet import DataType, EnergyMeter, Fleet, FunctionCode, MeterType, Order, Register

NOW = datetime(2026, 3, 29, 0, 59, 59, 999999, tzinfo=UTC)
FAILING = MeterStatus(
    id=1,
    last_read_at=NOW - timedelta(hours=1),
    failing_since=NOW,
    failures_in_a_row=3,
    reason="10.0.0.1:502 unit 1: no reply within 3 s",
    recorded_at=NOW,
)
REGISTER = Register(0, "voltageL1", "V", DataType.FLOAT, FunctionCode.READ_INPUT_REGISTERS)
TYPE = MeterType("sdm630", (REGISTER,))
METER = EnergyMeter(1, "10.0.0.1", 502, 1, "sdm630", "cellar")


def test_a_result_is_saved_unchanged(config_engine):
    save_results(config_engine, [FAILING])
    assert load_statuses(config_engine) == {1: FAILING}


def test_of_other_meters_only_those_that_fail_are_loaded(config_engine):
    others = [replace(FAILING, id=2), MeterStatus(3, last_read_at=NOW), MeterStatus(4, last_read_at=NOW)]
    save_results(config_engine, [FAILING, *others])
    assert set(load_statuses(config_engine, [4])) == {1, 2, 4}
    assert set(load_statuses(config_engine, [])) == {1, 2}


def test_the_recovery_of_a_meter_is_saved(config_engine):
    save_results(config_engine, [FAILING])
    recovered = MeterStatus(1, last_read_at=NOW)
    save_results(config_engine, [recovered])
    assert load_statuses(config_engine) == {1: recovered}


def test_results_and_configurations_do_not_overwrite_each_other(config_engine):
    save_configurations(config_engine, {1: "a", 2: "b"})
    save_results(config_engine, [replace(FAILING, configuration="ignored")])
    save_configurations(config_engine, {1: "c"})
    assert load_statuses(config_engine) == {
        1: replace(FAILING, configuration="c"),
        2: MeterStatus(2, configuration="b"),
    }


def test_if_a_meter_occurs_twice_its_last_result_is_saved(config_engine):
    save_results(config_engine, [FAILING, MeterStatus(1)])
    assert load_statuses(config_engine) == {1: MeterStatus(1)}


def test_ten_thousand_results_are_saved_in_one_statement(config_engine):
    statuses = {number: replace(FAILING, id=number) for number in range(10_000)}
    save_results(config_engine, list(statuses.values()))
    assert load_statuses(config_engine) == statuses


def test_without_results_no_statement_is_executed(config_engine):
    save_results(config_engine, [])
    save_configurations(config_engine, {})
    forget(config_engine, set())
    assert load_statuses(config_engine) == {}


def test_the_state_of_removed_meters_is_deleted_and_that_of_others_stays(config_engine):
    save_configurations(config_engine, {1: "a", 2: "b", 3: "c"})
    forget(config_engine, {1, 3, 99})
    assert list(load_statuses(config_engine)) == [2]


def test_a_reason_with_bytes_of_a_garbled_reply_is_stored(config_engine):
    save_results(config_engine, [MeterStatus(1, reason="reply \0\ud800 ' \\ % :x")])
    assert load_statuses(config_engine)[1].reason == "reply \N{REPLACEMENT CHARACTER}? ' \\ % :x"


def test_a_database_that_was_never_upgraded_is_an_error_that_says_what_to_run(bare_database):
    with pytest.raises(ConfigDatabaseError, match="emm db upgrade"):
        load_statuses(bare_database)


@pytest.mark.parametrize(
    "change",
    [
        {"host": "10.0.0.2"},
        {"port": 503},
        {"unit_id": 2},
        {"type": "sdm72"},
        {"description": None},
        {"transport": "rtu"},
    ],
)
def test_a_changed_meter_has_another_fingerprint(change):
    assert fingerprint(replace(METER, **change), TYPE) != fingerprint(METER, TYPE)


@pytest.mark.parametrize(
    "change",
    [
        {"register_address": 2},
        {"measurement_name": "voltage"},
        {"data_unit": None},
        {"data_type": DataType.LONG},
        {"function_code": FunctionCode.READ_HOLDING_REGISTERS},
        {"word_order": Order.LITTLE_ENDIAN},
        {"byte_order": Order.LITTLE_ENDIAN},
        {"scale": 0.1},
        {"invalid_value": 0},
        {"scale_register": 6},
        {"model": 103},
    ],
)
def test_a_meter_of_a_changed_type_has_another_fingerprint(change):
    changed = replace(TYPE, registers=(replace(REGISTER, **change),))
    assert fingerprint(METER, changed) != fingerprint(METER, TYPE)


def test_other_requests_for_a_type_do_not_change_the_fingerprint():
    assert fingerprint(METER, replace(TYPE, timeout_s=1.0)) == fingerprint(METER, TYPE)


def test_the_fingerprints_of_a_fleet_are_those_of_its_meters():
    other = replace(METER, id=2, host="10.0.0.2")
    fleet = Fleet((METER, other), {"sdm630": TYPE})
    assert fingerprints(fleet) == {1: fingerprint(METER, TYPE), 2: fingerprint(other, TYPE)}


def test_a_fingerprint_is_the_same_in_another_process():
    columns = METER.id, METER.host, METER.port, METER.unit_id, METER.type, METER.description
    program = (
        "from emm_pipeline.fleet import *\n"
        "from emm_pipeline.config_db.device_state.fingerprints import fingerprint\n"
        f"register = Register(0, 'voltageL1', 'V', DataType.FLOAT, FunctionCode.READ_INPUT_REGISTERS)\n"
        f"print(fingerprint(EnergyMeter{columns!r}, MeterType('sdm630', (register,))))"
    )
    output = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert output.strip() == fingerprint(METER, TYPE)
