"""Connections that stay open between the readings of a run: which ones, and that no value is lost or old."""

import time
from dataclasses import replace
from itertools import count

import pytest
from support.meters import SimulatedUnit
from support.virtual_server import eventually

from emm_pipeline.event_loop import FastLoop
from emm_pipeline.fleet import DataType, EnergyMeter, FunctionCode, MeterType, Register, TransportKind
from emm_pipeline.modbus.fleet_reading import Conditions, read_meters
from emm_pipeline.modbus.gateway_locks import Unlocked
from emm_pipeline.modbus.kept_sessions import KeptSessions
from emm_pipeline.readings import FailureKind

HOLDING = FunctionCode.READ_HOLDING_REGISTERS
TYPE = MeterType("t", (Register(0, "m", None, DataType.UINT16, HOLDING),), timeout_s=30.0)


class Run:
    """The readings of a run, one after the other."""

    def __init__(self, max_connections=200):
        self.loop, self.kept, self.locks = FastLoop(), KeptSessions(), Unlocked()
        self.max_connections = max_connections

    def readings(self, *meters, meter_type=TYPE, near=True):
        self.kept.next_is_near = near
        conditions = Conditions(self.max_connections, locks=self.locks, kept=self.kept)
        deadline = time.monotonic() + 100
        return self.loop.run(read_meters(meters, {"t": meter_type}, deadline=deadline, conditions=conditions))

    def read(self, *meters, **options):
        readings = self.readings(*meters, **options)
        assert not any(reading.failure for reading in readings), readings
        return [int.from_bytes(reading.blocks[0].data) for reading in readings]


@pytest.fixture
def run():
    run = Run()
    yield run
    run.kept.close()
    run.loop.close()


def meter(gateway, unit_id=1, **changes):
    fields = {"id": unit_id, "host": gateway.host, "port": gateway.port, "unit_id": unit_id, "type": "t"}
    return EnergyMeter(**fields | changes)


def constant():
    return SimulatedUnit(lambda _, address: 1000 + address)


def rising(**oddity):
    """A unit whose value is higher at each request, so that an old one would be noticed."""
    values = count(1)
    return SimulatedUnit(lambda _, __: next(values), **oddity)


@pytest.mark.parametrize(
    ("keep_connection", "near", "connections"),
    [(None, True, 1), (None, False, 3), (False, True, 3), (True, True, 1), (True, False, 1)],
)
def test_a_connection_is_kept_if_the_next_reading_is_near_unless_the_type_decides(
    simulated_gateway, run, keep_connection, near, connections
):
    gateway = simulated_gateway({1: rising()})
    meter_type = replace(TYPE, keep_connection=keep_connection)
    assert [run.read(meter(gateway), meter_type=meter_type, near=near) for _ in range(3)] == [[1], [2], [3]]
    assert gateway.connections == connections


@pytest.mark.parametrize("keep_connection", [None, True])
def test_a_kept_connection_that_the_gateway_has_closed_is_opened_again(simulated_gateway, run, keep_connection):
    gateway = simulated_gateway({1: rising()}, requests_per_connection=1)
    for expected in (1, 2, 3):
        assert run.read(meter(gateway), meter_type=replace(TYPE, keep_connection=keep_connection)) == [expected]
        eventually(lambda: gateway.open_connections == 0)
    assert gateway.connections == 3


def test_a_gateway_that_restarted_between_two_readings_is_read(simulated_gateway, run):
    gateway = simulated_gateway({1: rising()})
    assert run.read(meter(gateway)) == [1]
    gateway.stop()
    gateway.start()
    assert run.read(meter(gateway)) == [2]


def test_a_connection_that_was_forgotten_on_the_way_is_opened_again(simulated_gateway, run):
    """As by a firewall: what is sent over it gets no reply."""
    gateway = simulated_gateway({1: constant()})
    run.read(meter(gateway))
    gateway.units[1].ignores = lambda _: gateway.connections == 1
    assert run.read(meter(gateway), meter_type=replace(TYPE, timeout_s=0.2)) == [1000]
    assert gateway.connections == 2


def test_a_dead_meter_is_asked_twice_after_a_kept_connection_and_then_fails(simulated_gateway, run):
    gateway = simulated_gateway({1: constant()})
    run.read(meter(gateway))
    gateway.units[1].silent = True
    [reading] = run.readings(meter(gateway), meter_type=replace(TYPE, timeout_s=0.2))
    assert reading.failure.kind is FailureKind.TIMEOUT
    assert gateway.requests == 3
    assert len(run.kept) == 0


@pytest.mark.parametrize("after_s", [0.0, 0.02])
def test_a_copy_of_a_reply_that_arrives_between_two_readings_is_not_taken_for_the_next_reply(
    simulated_gateway, run, after_s
):
    gateway = simulated_gateway({1: rising(doubled_after_s=after_s)})
    for expected in range(1, 6):
        assert run.read(meter(gateway)) == [expected]
        time.sleep(0.05)


def test_a_copy_is_not_taken_for_the_next_reply_where_replies_have_no_ids_and_the_type_keeps_connections(
    simulated_gateway, run
):
    gateway = simulated_gateway({1: rising(doubled_after_s=0.02)}, rtu=True)
    over_rtu = meter(gateway, transport=TransportKind.RTU)
    for expected in range(1, 4):
        assert run.read(over_rtu, meter_type=replace(TYPE, keep_connection=True)) == [expected]
        time.sleep(0.1)


def test_connections_without_ids_are_kept_only_where_the_type_says_so(simulated_gateway, run):
    gateway = simulated_gateway({1: rising()}, rtu=True)
    for _ in range(2):
        run.read(meter(gateway, transport=TransportKind.RTU))
    assert gateway.connections == 2


def test_no_connection_is_kept_if_there_are_fewer_than_gateways(simulated_gateway):
    run = Run(max_connections=1)
    gateways = [simulated_gateway({1: rising()}), simulated_gateway({1: rising()})]
    for expected in (1, 2):
        assert run.read(*(meter(each, id=number) for number, each in enumerate(gateways))) == [expected] * 2
    assert [each.connections for each in gateways] == [2, 2]
    run.loop.close()


def test_two_names_of_one_gateway_are_both_read(simulated_gateway, run):
    gateway = simulated_gateway({1: rising(), 2: constant()})
    for expected in (1, 2, 3):
        read = run.read(meter(gateway), meter(gateway, 2, host="localhost"))
        assert read == [expected, 1000]
    assert gateway.max_open_connections == 1


def test_unless_the_number_of_connections_is_set_there_is_one_for_each_gateway(simulated_gateway):
    run = Run(max_connections=None)
    gateways = [simulated_gateway({1: rising()}) for _ in range(5)]
    for expected in (1, 2):
        assert run.read(*(meter(each, id=number) for number, each in enumerate(gateways))) == [expected] * 5
    assert [each.connections for each in gateways] == [1] * 5
    run.kept.close()
    run.loop.close()
