"""Replies without an id that come late, in any order, on the newest connection: no value is taken for another one's."""

import asyncio
import time
from dataclasses import replace
from random import Random

import pytest
from support import clock as clock_module
from support.meters import SimulatedUnit, crc

from emm_pipeline.fleet import DataType, EnergyMeter, FunctionCode, GatewayAddress, MeterType, Register, TransportKind
from emm_pipeline.modbus.fleet_reading import read_meters
from emm_pipeline.modbus.session import Session, Timing
from emm_pipeline.modbus.transport.links import Connection
from emm_pipeline.modbus.transport.serial import SerialTransport
from emm_pipeline.readings import FailureKind, Request

HOLDING = FunctionCode.READ_HOLDING_REGISTERS
TIMEOUT_S = 0.5
TYPE = MeterType(
    "t",
    (
        *(Register(a, f"m{a}", None, DataType.UINT16, HOLDING) for a in (0, 100, 200, 300)),
        *(Register(a, f"m{a}", None, DataType.UINT16, HOLDING) for a in range(500, 504)),
    ),
    timeout_s=TIMEOUT_S,
)
LATE = {
    "sometimes 2.5 timeouts": lambda at_random: at_random.choice([0.02, 0.02, 2.5 * TIMEOUT_S]),
    "sometimes 5 timeouts": lambda at_random: at_random.choice([0.02, 0.02, 5 * TIMEOUT_S]),
    "always 2.5 timeouts": lambda _: 2.5 * TIMEOUT_S,
    "always 5 timeouts": lambda _: 5 * TIMEOUT_S,
    "anything": lambda at_random: at_random.choice([0.02, at_random.uniform(0, 6 * TIMEOUT_S)]),
}


def register_at(_, address):
    return 1000 + address


def values_of(reading):
    """The values by address."""
    return {
        block.request.address + i: int.from_bytes(block.data[2 * i : 2 * i + 2])
        for block in reading.blocks
        for i in range(block.request.count)
    }


def wrong(values):
    return {address: value for address, value in values.items() if value != 1000 + address}


@pytest.mark.parametrize("delay", LATE.values(), ids=LATE)
def test_a_device_that_is_late_behind_a_converter_gives_no_wrong_value_in_many_polls(clock, delay):
    """The converter sends each reply on the newest connection, whichever the request came on."""
    at_random = Random(1)
    units = {unit: SimulatedUnit(register_at, delay_s=lambda _: delay(at_random)) for unit in (1, 2)}
    gateway = clock.gateway(units, rtu=True, replies_on_newest=True)
    rtu = TransportKind.RTU
    meters = [EnergyMeter(unit, gateway.host, gateway.port, unit, "t", transport=rtu) for unit in (1, 2)]

    async def poll_often():
        readings = []
        for _ in range(12):
            readings += await read_meters(meters, {"t": TYPE}, deadline=time.monotonic() + 100)
            await asyncio.sleep(at_random.choice([0, 0, 1, 10]))
        return readings

    values = [values_of(reading) for reading in clock.run(poll_often())]
    assert [each for each in values if wrong(each)] == []


class LateLine:
    """A serial line whose units send each reply after a delay of its own, in whatever order that gives."""

    def __init__(self, delay):
        self._delay = delay
        self._receiver = None

    def open(self, transport):
        self._receiver = transport, Connection(transport)
        transport.begin(self._receiver[1], self)

    def write(self, frame):
        unit_id, function_code, address = frame[0], frame[1], int.from_bytes(frame[2:4])
        count = int.from_bytes(frame[4:6])
        data = b"".join((1000 + each).to_bytes(2) for each in range(address, address + count))
        body = bytes([unit_id, function_code, len(data)]) + data
        asyncio.get_running_loop().call_later(self._delay(), self._deliver, body + crc(body))

    def _deliver(self, frame):
        transport, connection = self._receiver
        transport.receive(connection, frame)

    def abort(self):
        """The line remains."""


@pytest.mark.parametrize("delay", LATE.values(), ids=LATE)
def test_a_device_that_is_late_on_a_serial_line_gives_no_wrong_value_in_thousands_of_requests(
    clock, monkeypatch, delay
):
    monkeypatch.setattr(clock_module, "IN_FLIGHT_S", 0)  # nothing is on its way through the kernel
    at_random = Random(2)
    line = LateLine(lambda: delay(at_random))

    async def open_line(transport, _):
        line.open(transport)

    monkeypatch.setattr(SerialTransport, "open", open_line)
    gateway = GatewayAddress("/dev/late", 1, TransportKind.SERIAL)

    async def read_often():
        found = []
        for _ in range(20):
            session = Session(gateway, Timing(TIMEOUT_S))
            for _ in range(50):
                address, count = at_random.choice([0, 100, 200]), at_random.choice([1, 1, 2])
                reply = await session.read(at_random.choice([1, 2]), Request(HOLDING, address, count))
                found += [(address + i, word) for i, word in enumerate(reply.words)]
            session.close()
            await asyncio.sleep(at_random.choice([0, 1]))
        return found

    found = clock.run(read_often())
    assert [(address, word) for address, word in found if word != 1000 + address] == []


def test_after_a_timeout_the_same_number_of_registers_is_requested_again_until_the_reply_is_certain(clock):
    """The late reply to the first request comes in place of that to the second one."""
    gateway = clock.gateway({1: SimulatedUnit(register_at, delay_s=1.2)}, rtu=True, replies_on_newest=True)

    async def read_twice():
        session = Session(GatewayAddress(gateway.host, gateway.port, TransportKind.RTU), Timing(TIMEOUT_S))
        first = await session.read(1, Request(HOLDING, 0, 1))
        await asyncio.sleep(0.6)  # later than two timeouts after the request
        gateway.units[1].delay_s = 0.02
        second = await session.read(1, Request(HOLDING, 100, 1))
        session.close()
        return first, second

    first, second = clock.run(read_twice())
    assert first.kind is FailureKind.TIMEOUT
    assert second.words == (1100,)


def test_a_value_that_changes_after_a_timeout_is_dropped_rather_than_guessed(clock):
    """Every reply differs, so none is proven to belong to the request."""
    answered = []

    def changing(_, address):
        answered.append(address)
        return len(answered)

    gateway = clock.gateway({1: SimulatedUnit(changing)}, rtu=True)
    unit = gateway.units[1]

    async def read_after_a_timeout():
        session = Session(GatewayAddress(gateway.host, gateway.port, TransportKind.RTU), Timing(TIMEOUT_S))
        unit.silent = True
        await session.read(1, Request(HOLDING, 0, 1))
        unit.silent = False
        try:
            return await session.read(1, Request(HOLDING, 100, 1))
        finally:
            session.close()

    reply = clock.run(read_after_a_timeout())
    assert reply.words == ()
    assert "the replies differ" in reply.reason


def test_after_a_timeout_values_are_requested_in_other_numbers_so_that_changing_ones_are_read_too(clock):
    """A late reply then shows by its length that it belongs to the earlier request."""
    gateway = clock.gateway({1: SimulatedUnit(register_at)}, rtu=True)
    block = replace(TYPE, registers=TYPE.registers[4:])
    meter = EnergyMeter(1, gateway.host, gateway.port, 1, "t", transport=TransportKind.RTU)
    gateway.units[1].silent = lambda: gateway.requests < 3

    async def poll_twice():
        for _ in range(2):
            [reading] = await read_meters([meter], {"t": block}, deadline=time.monotonic() + 100)
        return reading

    reading = clock.run(poll_twice())
    assert values_of(reading) == {address: 1000 + address for address in range(500, 504)}
    assert (reading.failure, reading.requests) == (None, 2)
    assert [request.count for request in gateway.received] == [4, 4, 2, 2]


def test_a_unit_that_replies_in_time_gets_one_request_per_block_although_its_neighbour_is_silent(clock):
    gateway = clock.gateway({1: SimulatedUnit(register_at, silent=True), 2: SimulatedUnit(register_at)}, rtu=True)
    meters = [EnergyMeter(u, gateway.host, gateway.port, u, "t", transport=TransportKind.RTU) for u in (1, 2)]

    async def poll_three_times():
        return [await read_meters(meters, {"t": TYPE}, deadline=time.monotonic() + 100) for _ in range(3)]

    assert [good.requests for _, good in clock.run(poll_three_times())] == [5, 5, 5]
