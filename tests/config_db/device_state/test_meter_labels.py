"""Labels of meters: read once a day, and again when the configuration changes; the texts before stay if none come."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from support.meters import SimulatedUnit, encode_text, holding, inputs
from support.polling import read

from emm_pipeline.config_db.device_state.meter_labels import load_labels, load_labels_known, save_labels
from emm_pipeline.config_db.device_state.meter_status import forget
from emm_pipeline.fleet import DataType, EnergyMeter, FunctionCode, MeterType, Register
from emm_pipeline.polling.plan import PollPlan
from emm_pipeline.readings import MeterReading

VOLTAGE = Register(0, "voltage", "V", DataType.UINT16, FunctionCode.READ_INPUT_REGISTERS)
SERIAL = Register(100, "serialNumber", None, DataType.STRING, FunctionCode.READ_HOLDING_REGISTERS, length=8)
TYPES = {"t": MeterType("t", (VOLTAGE, SERIAL), timeout_s=0.5)}
METER = EnergyMeter(1, "h", 502, 1, "t")


def saved(engine, now, labels, meter=METER):
    save_labels(engine, [MeterReading(meter, now, labels=labels)], TYPES)


def test_labels_are_known_for_a_day_and_while_the_configuration_is_the_same(config_engine):
    now = datetime.now(UTC)
    assert load_labels_known(config_engine, [METER], TYPES, now) == frozenset()
    saved(config_engine, now, {"serialNumber": "SN 1 Ω"})
    assert load_labels(config_engine) == {1: {"serialNumber": "SN 1 Ω"}}
    assert load_labels_known(config_engine, [METER], TYPES, now + timedelta(hours=23)) == {1}
    assert load_labels_known(config_engine, [METER], TYPES, now + timedelta(hours=25)) == frozenset()
    assert load_labels_known(config_engine, [replace(METER, host="other")], TYPES, now) == frozenset()


def test_a_type_without_labels_is_never_asked_for_them(config_engine):
    assert load_labels_known(config_engine, [METER], {"t": MeterType("t", (VOLTAGE,))}, datetime.now(UTC)) == {1}


def test_labels_that_were_not_read_once_stay_and_are_requested_again_in_a_day(config_engine):
    now = datetime.now(UTC)
    saved(config_engine, now, {"serialNumber": "SN1"})
    saved(config_engine, now + timedelta(hours=25), {})
    assert load_labels(config_engine) == {1: {"serialNumber": "SN1"}}
    assert load_labels_known(config_engine, [METER], TYPES, now + timedelta(hours=26)) == {1}


def test_labels_of_a_removed_meter_are_forgotten(config_engine):
    saved(config_engine, datetime.now(UTC), {"serialNumber": "SN1"})
    forget(config_engine, [1])
    assert load_labels(config_engine) == {}


@pytest.mark.parametrize("has_text", [True, False])
def test_polls_read_labels_once_and_then_only_values(config_engine, simulated_gateway, has_text):
    registers = inputs(0, [230]) | (holding(100, encode_text("SN1", 8)) if has_text else {})
    gateway = simulated_gateway({1: SimulatedUnit(registers)})
    meter = EnergyMeter(1, gateway.host, gateway.port, 1, "t")
    for _ in range(3):
        (reading,) = read(config_engine, PollPlan((meter,), TYPES))
        assert reading.failure is None
    assert [each.function_code for each in gateway.received] == [4, 3, 4, 4]
    assert load_labels(config_engine) == {1: {"serialNumber": "SN1"} if has_text else {}}
