"""Registers that a meter gave before and refuses now, as inverters do at night: requested again soon, and named."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from support.meters import HOLDING, SimulatedUnit, encode_value, holding

from emm_pipeline.config_db.device_state.unsupported_registers import load_refused
from emm_pipeline.fleet import DataType, EnergyMeter, FunctionCode, MeterType, Register
from emm_pipeline.modbus.unsupported import EarlierRequests
from emm_pipeline.polling import pipeline
from emm_pipeline.polling.device_state import ScheduleSlot, forget_what_was_read
from emm_pipeline.polling.plan import PollPlan
from emm_pipeline.readings import Request, UnsupportedRange

FC = FunctionCode.READ_HOLDING_REGISTERS
TYPE = MeterType(
    "t",
    (Register(0, "voltageL1", "V", DataType.FLOAT, FC), Register(40, "pvPower", "W", DataType.FLOAT, FC)),
    timeout_s=30.0,
)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def inverter(simulated_gateway):
    return simulated_gateway({1: SimulatedUnit(registers_of(day=True))})


def registers_of(*, day):
    always = holding(0, encode_value(231.5, DataType.FLOAT))
    return always | (holding(40, encode_value(4200.0, DataType.FLOAT)) if day else {})


def execute(engine, *statements):
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def poll(engine, gateway, *, by_hand=False):
    meter = EnergyMeter(1, gateway.host, gateway.port, 1, "t")
    slot = None if by_hand else ScheduleSlot(datetime.now(UTC), MINUTE)
    limits = pipeline.Limits(200, engine, slot)
    [reading] = pipeline.read(PollPlan((meter,), {"t": TYPE}), datetime.now(UTC) + MINUTE, limits)
    return {block.request.address for block in reading.blocks}


def test_a_register_that_was_given_before_is_read_again_with_the_first_poll_of_the_morning(config_engine, inverter):
    assert poll(config_engine, inverter) == {0, 40}
    inverter.units[1].registers = registers_of(day=False)
    for _ in range(3):
        assert poll(config_engine, inverter) == {0}
    inverter.units[1].registers = registers_of(day=True)
    assert poll(config_engine, inverter) == {0, 40}, "three times it is requested with each poll"


def test_after_a_long_night_it_is_omitted_for_half_an_hour_at_most(config_engine, inverter):
    poll(config_engine, inverter)
    inverter.units[1].registers = registers_of(day=False)
    for _ in range(12):
        poll(config_engine, inverter)
        execute(config_engine, "UPDATE refused_registers SET refused_at = refused_at - interval '31 minutes'")
    inverter.units[1].registers = registers_of(day=True)
    assert poll(config_engine, inverter) == {0, 40}
    meter = EnergyMeter(1, inverter.host, inverter.port, 1, "t")
    assert load_refused(config_engine, [meter], {"t": TYPE}, datetime.now(UTC)) == {}, "and nothing is remembered"


def test_a_poll_by_hand_requests_what_the_meter_gave_before(config_engine, inverter):
    poll(config_engine, inverter)
    inverter.units[1].registers = registers_of(day=False)
    for _ in range(6):
        poll(config_engine, inverter)
    inverter.units[1].registers = registers_of(day=True)
    assert poll(config_engine, inverter) == {0}, "on schedule it is left out for some minutes"
    assert poll(config_engine, inverter, by_hand=True) == {0, 40}
    assert poll(config_engine, inverter) == {0, 40}


def test_a_check_that_reads_a_register_lets_the_next_poll_request_it(config_engine, inverter):
    inverter.units[1].registers = registers_of(day=False)
    poll(config_engine, inverter)
    inverter.units[1].registers = registers_of(day=True)
    assert poll(config_engine, inverter) == {0}, "never given before: not requested for a day"
    meter = EnergyMeter(1, inverter.host, inverter.port, 1, "t")
    forget_what_was_read(config_engine, {meter: [Request(FC, 40, 2)]})
    assert poll(config_engine, inverter) == {0, 40}


@pytest.mark.parametrize(
    ("times_refused", "minutes"), [(1, 0), (3, 0), (4, 1), (5, 2), (6, 4), (8, 16), (9, 30), (1000, 30)]
)
def test_registers_given_before_are_tried_again_at_growing_intervals_of_minutes(times_refused, minutes):
    refused = UnsupportedRange(FC, 40, 2, 2, NOON, times_refused=times_refused, is_temporary=True)
    assert refused.tried_again_at - NOON == timedelta(minutes=minutes)


def test_registers_are_refused_for_a_while_only_if_the_meter_gave_all_of_it_before():
    earlier = EarlierRequests(given=((HOLDING, 0, 42),))
    assert earlier.judge(Request(FC, 40, 2), 2, NOON, TYPE.asked).is_temporary
    assert not earlier.judge(Request(FC, 40, 4), 2, NOON, TYPE.asked).is_temporary
