"""A single meter behind a gateway is read without a task. What is unusual must have the same result as with one."""

import asyncio
import re
import time

import pytest
from support.meters import SimulatedUnit

from emm_pipeline.fleet import DataType, EnergyMeter, FunctionCode, MeterType, Register
from emm_pipeline.modbus import concurrent_readings
from emm_pipeline.modbus.fleet_reading import Conditions, read_meters
from emm_pipeline.modbus.gateway import GatewayPoll
from emm_pipeline.modbus.gateway_locks import Unlocked
from emm_pipeline.modbus.gateway_reader import GatewayReader
from emm_pipeline.modbus.kept_sessions import KeptSessions
from emm_pipeline.readings import FailureKind

HOLDING = FunctionCode.READ_HOLDING_REGISTERS
ADDRESSES = (0, 4, 100)
"""Read with two requests, the first one across a gap."""
TYPE = MeterType("t", tuple(Register(a, f"m{a}", None, DataType.UINT16, HOLDING) for a in ADDRESSES), timeout_s=1.0)

NOT_COMPARED = r"\d{4}-\d\d-\d\d \d\d:\d\d|\d{3,}"
"""Times, ports and transaction ids."""

ODDITIES = {
    "as usual": {},
    "refuses a gap": {"exceptions": {2: 2}},
    "refuses the second request": {"exceptions": {100: 2}},
    "is busy": {"exception": 6},
    "has failed": {"exception": 4},
    "is silent": {"silent": True},
    "is silent at the second request": {"ignores": lambda request: request.address == 100},
    "closes at the second request": {"closes_on": lambda request: request.address == 100},
    "replies late": {"delay_s": 1.5},
    "sends garbage": {"garbage": b"HTTP/1.1 400 Bad Request"},
    "sends another unit's reply": {"answer_as_unit": 9},
    "sends too many registers": {"extra_registers": 1},
    "has transaction id 0": {"transaction_id": 0},
    "has wrong transaction ids": {"transaction_id_offset": 3},
    "sends each reply twice": {"doubled_after_s": 0},
    "sends each reply again later": {"doubled_after_s": 0.005},
    "sends surplus bytes": {"trailing": b"\xaa\xbb"},
    "sends a longer frame": {"surplus_in_frame": b"\x5f"},
    "resets the connection": {"reset_after": 5},
    "sends bytes singly": {"byte_by_byte": True},
}


class Meter:
    """A meter, and the readings of one run."""

    def __init__(self, clock, **options):
        self.clock, self.kept, self.locks = clock, KeptSessions(), Unlocked()
        self.kept.next_is_near = True
        self.unit = SimulatedUnit(lambda _, address: 1000 + address)
        self.gateway = clock.gateway({1: self.unit}, **options)
        self.meter = EnergyMeter(1, self.gateway.host, self.gateway.port, 1, "t")

    def reading(self, seconds=100.0, **options):
        conditions = Conditions(None, locks=self.locks, kept=self.kept)
        deadline = time.monotonic() + seconds
        readings = read_meters([self.meter], {"t": TYPE}, deadline=deadline, conditions=conditions, **options)
        return self.clock.run(readings)[0]

    def set(self, oddity):
        for name, value in oddity.items():
            setattr(self.unit, name, value)

    def story(self, oddity, readings_before):
        """Return all that is noticed of four readings, of which the later ones find an odd device."""
        seen = []
        for number in range(4):
            if number == readings_before:
                self.set(oddity)
            reading = self.reading()
            blocks = [(block.request, block.data, block.order) for block in reading.blocks]
            ranges = [(each.key, each.exception_code, each.times_refused) for each in reading.unsupported]
            texts = [reading.failure.kind, reading.failure.reason] if reading.failure else []
            texts = [re.sub(NOT_COMPARED, "N", text) for text in (*texts, *reading.notices)]
            seen.append((blocks, ranges, texts, reading.requests, round(reading.latency_ms), len(self.kept)))
            assert len(self.locks._held) == len(self.kept)
        self.kept.close()
        return seen, self.gateway.connections, self.gateway.requests


def without_quick_readings(monkeypatch):
    monkeypatch.setattr(GatewayReader, "take_at_once", lambda *_: None)
    monkeypatch.setattr(GatewayPoll, "has_one_meter", False)


@pytest.mark.parametrize("readings_before", [0, 1])
@pytest.mark.parametrize("oddity", ODDITIES.values(), ids=ODDITIES)
def test_a_device_is_read_with_the_same_result_whether_quickly_or_not(clock, monkeypatch, oddity, readings_before):
    quickly = Meter(clock).story(oddity, readings_before)
    without_quick_readings(monkeypatch)
    assert quickly == Meter(clock).story(oddity, readings_before)


def test_a_usual_meter_is_read_quickly_over_a_new_connection_and_over_a_kept_one(clock, monkeypatch):
    meter = Meter(clock)
    monkeypatch.setattr(GatewayPoll, "_read", None)
    readings = [meter.reading() for _ in range(3)]
    assert [len(reading.blocks) for reading in readings] == [2, 2, 2]
    assert meter.gateway.connections == 1


@pytest.mark.parametrize("readings_before", [0, 1])
@pytest.mark.parametrize("oddity", [{"silent": True}, {"exception": 6}, {"delay_s": 0.2}])
def test_at_the_deadline_a_quick_reading_fails_and_its_gateway_is_free(clock, oddity, readings_before):
    meter = Meter(clock)
    for _ in range(readings_before):
        meter.reading()
    meter.set(oddity)
    reading = meter.reading(seconds=0.1)
    assert reading.failure.kind in (FailureKind.DEADLINE, FailureKind.EXCEPTION)
    assert (len(meter.kept), meter.locks._held) == (0, set())


def test_nothing_is_sent_after_the_deadline(clock):
    meter = Meter(clock)
    meter.reading()
    requests = meter.gateway.requests
    assert "not reached before the deadline" in meter.reading(seconds=-1).failure.reason
    assert meter.gateway.requests == requests


@pytest.mark.parametrize("readings_before", [0, 1])
def test_an_error_of_the_caller_ends_the_reading_and_unlocks_the_gateway(clock, readings_before):
    meter = Meter(clock)
    for _ in range(readings_before):
        meter.reading()

    def fail(reading):
        raise LookupError(reading.meter.id)

    with pytest.raises(LookupError):
        meter.reading(on_reading=fail)
    assert (len(meter.kept), meter.locks._held) == (0, set())


@pytest.mark.parametrize("readings_before", [0, 1])
def test_a_cancelled_reading_closes_its_connection_and_unlocks_the_gateway(clock, readings_before):
    meter = Meter(clock)
    for _ in range(readings_before):
        meter.reading()
    meter.unit.delay_s = 0.5

    async def cancel():
        conditions = Conditions(None, locks=meter.locks, kept=meter.kept)
        reading = asyncio.create_task(
            read_meters([meter.meter], {"t": TYPE}, deadline=time.monotonic() + 100, conditions=conditions)
        )
        await asyncio.sleep(0.1)
        reading.cancel()
        await asyncio.wait([reading])
        return reading.cancelled()

    assert clock.run(cancel())
    assert (len(meter.kept), meter.locks._held) == (0, set())


def test_many_kept_connections_are_read_in_one_go(clock, monkeypatch):
    monkeypatch.setattr(concurrent_readings, "_BEGUN_AT_ONCE", 2)
    units = [SimulatedUnit(lambda _, address: 1000 + address) for _ in range(7)]
    gateways = [clock.gateway({1: unit}) for unit in units]
    meters = [EnergyMeter(number, each.host, each.port, 1, "t") for number, each in enumerate(gateways)]
    conditions = Conditions(None, kept=KeptSessions())
    conditions.kept.next_is_near = True
    for _ in range(3):
        deadline = time.monotonic() + 100
        readings = clock.run(read_meters(meters, {"t": TYPE}, deadline=deadline, conditions=conditions))
        assert [len(reading.blocks) for reading in readings] == [2] * 7
    assert [each.connections for each in gateways] == [1] * 7
    conditions.kept.close()
