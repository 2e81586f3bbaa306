"""The device state between fleet readings."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from emm_pipeline.config_db.device_state import fingerprints
from emm_pipeline.config_db.device_state.failing_meters import load_failing, save_failing
from emm_pipeline.config_db.device_state.meter_status import (
    MeterStatus,
    forget,
    load_statuses,
    save_configurations,
    save_results,
)
from emm_pipeline.config_db.device_state.model_addresses import load_model_addresses, save_model_addresses
from emm_pipeline.config_db.device_state.unsupported_registers import load_unsupported, save_unsupported
from emm_pipeline.failing import FailingMeter
from emm_pipeline.fleet import DataType, EnergyMeter, FunctionCode, MeterType, Register
from emm_pipeline.readings import MeterReading, UnsupportedRange

NOW = datetime(2026, 3, 29, 0, 59, 59, 999000, tzinfo=UTC)
HOUR = timedelta(hours=1)
INPUT = FunctionCode.READ_INPUT_REGISTERS
REGISTER = Register(0, "voltageL1", "V", DataType.FLOAT, INPUT)
TYPES = {"sdm630": MeterType("sdm630", (REGISTER, replace(REGISTER, register_address=342, measurement_name="energy")))}
OLD, NEW = (EnergyMeter(id_, "10.0.0.1", 502, id_, "sdm630") for id_ in (1, 2))
REFUSED = UnsupportedRange(INPUT, 342, 2, 2, NOW)


def sample(*refused, meter=OLD, time=NOW):
    return MeterReading(meter, time, unsupported=refused)


def remembered(engine, now=NOW + HOUR, meters=(OLD, NEW), types=TYPES):
    return load_unsupported(engine, meters, types, now)


def test_unsupported_registers_are_saved_for_the_meter_and_not_for_others_of_its_type(config_engine):
    save_unsupported(config_engine, [sample(REFUSED)], TYPES, NOW)
    assert remembered(config_engine) == {1: (REFUSED,)}


def test_known_unsupported_registers_are_not_saved_again_so_that_they_expire_after_a_day(config_engine):
    save_unsupported(config_engine, [sample(REFUSED)], TYPES, NOW)
    later = NOW + 23 * HOUR
    save_unsupported(config_engine, [sample(REFUSED, time=later)], TYPES, later)
    assert remembered(config_engine, later) == {1: (REFUSED,)}
    assert remembered(config_engine, NOW + 24 * HOUR) == {}


def test_registers_that_are_refused_again_a_day_later_are_saved_for_another_day(config_engine):
    save_unsupported(config_engine, [sample(REFUSED)], TYPES, NOW)
    again = replace(REFUSED, refused_at=NOW + 25 * HOUR, exception_code=3)
    save_unsupported(config_engine, [sample(again, time=again.refused_at)], TYPES, again.refused_at)
    assert remembered(config_engine, NOW + 30 * HOUR) == {1: (again,)}


def test_rows_older_than_a_day_are_deleted(config_engine):
    save_unsupported(config_engine, [sample(REFUSED)], TYPES, NOW)
    gap = UnsupportedRange(INPUT, 4, 338, 2, NOW + 25 * HOUR)
    save_unsupported(config_engine, [sample(gap, meter=NEW, time=gap.refused_at)], TYPES, gap.refused_at)
    with config_engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT meter_id, type FROM refused_registers").all() == [(2, "sdm630")]


@pytest.mark.parametrize(
    ("meter", "registers"),
    [
        (OLD, (REGISTER,)),
        (replace(OLD, host="10.0.0.2"), TYPES["sdm630"].registers),
        (replace(OLD, unit_id=7), TYPES["sdm630"].registers),
    ],
    ids=["other registers", "another device", "another unit"],
)
def test_a_changed_meter_is_asked_for_everything_again(config_engine, meter, registers):
    save_unsupported(config_engine, [sample(REFUSED)], TYPES, NOW)
    assert remembered(config_engine, meters=(meter,), types={"sdm630": MeterType("sdm630", registers)}) == {}


def test_the_unsupported_registers_of_a_removed_meter_are_deleted(config_engine):
    save_unsupported(config_engine, [sample(REFUSED)], TYPES, NOW)
    forget(config_engine, {1})
    assert remembered(config_engine) == {}


def test_a_type_is_digested_once_for_all_its_meters_that_do_not_support_something(config_engine, monkeypatch):
    digested = []
    content_of = fingerprints.content_of
    monkeypatch.setattr(fingerprints, "content_of", lambda register: digested.append(register) or content_of(register))
    meters = [replace(OLD, id=id_) for id_ in range(50)]
    save_unsupported(config_engine, [sample(REFUSED, meter=meter) for meter in meters], TYPES, NOW)
    assert len(digested) == len(TYPES["sdm630"].registers)
    digested.clear()
    assert len(remembered(config_engine, meters=meters)) == 50
    assert len(digested) == len(TYPES["sdm630"].registers)


def test_a_type_is_digested_once_for_all_its_meters_with_sunspec_models(config_engine, monkeypatch):
    digested = []
    content_of = fingerprints.content_of
    monkeypatch.setattr(fingerprints, "content_of", lambda register: digested.append(register) or content_of(register))
    meters = [replace(OLD, id=id_) for id_ in range(50)]
    readings = [MeterReading(meter, NOW, models={103: 40_072}) for meter in meters]
    save_model_addresses(config_engine, readings, TYPES)
    digested.clear()
    assert load_model_addresses(config_engine, meters, TYPES, NOW) == {meter.id: {103: 40_072} for meter in meters}
    assert len(digested) == len(TYPES["sdm630"].registers)


FAILING = FailingMeter(1, 3, NOW, "10.0.0.1:502 unit 1: no reply within 3 s", NOW + timedelta(minutes=2))


def test_failing_meters_are_saved_unchanged_and_others_have_no_row(config_engine):
    save_failing(config_engine, {1: FAILING, 2: replace(FAILING, meter_id=2, next_attempt_at=None)})
    assert load_failing(config_engine) == {1: FAILING, 2: replace(FAILING, meter_id=2, next_attempt_at=None)}
    save_failing(config_engine, {1: None})
    assert list(load_failing(config_engine)) == [2]
    save_failing(config_engine, {})


def test_failures_and_poll_results_of_a_meter_do_not_overwrite_each_other(config_engine):
    status = MeterStatus(1, last_read_at=NOW, failures_in_a_row=9, reason="the store is unavailable")
    save_results(config_engine, [status])
    save_failing(config_engine, {1: FAILING})
    save_results(config_engine, [status])
    assert load_failing(config_engine) == {1: FAILING}
    assert load_statuses(config_engine) == {1: status}


def test_a_changed_meter_is_asked_at_the_next_sample_however_long_it_failed(config_engine):
    save_failing(config_engine, {1: FAILING, 2: replace(FAILING, meter_id=2)})
    save_configurations(config_engine, {1: "another host"})
    assert list(load_failing(config_engine)) == [2]


def test_a_reason_with_bytes_of_a_garbled_reply_is_remembered(config_engine):
    save_failing(config_engine, {1: replace(FAILING, reason="\0\ud800")})
    assert load_failing(config_engine)[1].reason == "\N{REPLACEMENT CHARACTER}?"
