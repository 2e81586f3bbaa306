"""Poll simulated gateways repeatedly, without Dagster: plans, schedule slots and decoded values."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from support.meters import SimulatedUnit, encode_value, holding

from emm_pipeline.fleet import DataType, EnergyMeter, FunctionCode, MeterType, Register
from emm_pipeline.polling import open_gateways, pipeline
from emm_pipeline.polling.device_state import ScheduleSlot
from emm_pipeline.polling.plan import PollPlan

HOLDING = FunctionCode.READ_HOLDING_REGISTERS
VOLTAGE = Register(0, "voltage", "V", DataType.FLOAT, HOLDING)
CURRENT = Register(2, "current", "A", DataType.FLOAT, HOLDING)
ENERGY = Register(8, "energy", "kWh", DataType.FLOAT, HOLDING)
TYPE = MeterType("t", (VOLTAGE, CURRENT, ENERGY), timeout_s=30.0)
IMPATIENT = replace(TYPE, timeout_s=0.3)
"""Deadline for tests with the clock of `polled_gateway`; on a busy machine, tests in real time may take longer."""

WORDS = [encode_value(value, DataType.FLOAT) for value in (230.5, 4.25, 1234.5)]
REGISTERS = holding(0, [*WORDS[0], *WORDS[1], 0, 0, 0, 0, *WORDS[2]])
NOON = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def unit(**faults):
    return SimulatedUnit(REGISTERS, **faults)


def plan_of(gateway, meter_type=TYPE, host=None):
    meters = [EnergyMeter(100 + u, host or gateway.host, gateway.port, u, "t") for u in sorted(gateway.units)]
    return PollPlan(tuple(meters), {"t": meter_type})


@pytest.fixture
def polled_gateway(clock, monkeypatch):
    """A factory of simulated gateways for `read`; silence, pauses and timeouts take no real time."""
    monkeypatch.setattr(open_gateways, "FastLoop", lambda: SimpleNamespace(run=clock.run, close=lambda: None))
    return clock.gateway


def read(engine, plan, at=None, seconds=100.0):
    deadline = pipeline.datetime.now(UTC) + timedelta(seconds=seconds)
    return pipeline.read(plan, deadline, pipeline.Limits(200, engine, at))


def slot(number, again=False):
    return ScheduleSlot(NOON + number * MINUTE, MINUTE, again)


def values(plan, samples):
    frame = pipeline.decode(plan, samples).frame
    return dict(zip(zip(frame["id"], frame["measurement"], strict=True), frame["value"], strict=True))
