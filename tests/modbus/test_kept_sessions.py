"""Connections that stay open between the readings of a run: which ones, and that no value is lost or old."""

import socket
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
from emm_pipeline.modbus.transport import pacing
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


def test_a_connection_to_a_gateway_that_is_not_read_now_does_not_count_beyond_max_connections(simulated_gateway):
    run = Run(max_connections=2)
    one, other, third = gateways = [simulated_gateway({1: rising()}) for _ in range(3)]
    run.read(meter(one, id=1), meter(other, id=2))
    assert run.read(meter(one, id=1), meter(third, id=3)) == [2, 1]
    eventually(lambda: [each.open_connections for each in gateways] == [1, 0, 1])
    assert one.connections == 1
    assert run.read(meter(other, id=2), meter(third, id=3)) == [2, 2]
    run.kept.close()
    run.loop.close()


def test_kept_connections_do_not_count_twice_where_the_process_may_open_few_files(simulated_gateway, monkeypatch):
    run = Run(max_connections=None)
    gateways = [simulated_gateway({1: rising()}) for _ in range(10)]
    meters = [meter(each, id=number) for number, each in enumerate(gateways)]
    assert run.read(*meters, near=False) == [1] * 10
    eventually(lambda: not any(each.open_connections for each in gateways))
    # The simulated gateways are in this process: each connection has two descriptors.
    most = pacing._open_descriptors() + 2 * len(gateways) + pacing._SPARE_DESCRIPTORS + 3
    monkeypatch.setattr(pacing.resource, "getrlimit", lambda _: (most, most))
    for expected in (2, 3, 4):
        assert run.read(*meters) == [expected] * 10
    assert [each.connections for each in gateways] == [2] * 10
    run.kept.close()
    run.loop.close()


@pytest.fixture
def name_server(monkeypatch):
    """The address of the host `meter.test`, which may be changed; None: it does not resolve."""
    addresses = {"meter.test": "127.0.0.1"}
    real = socket.getaddrinfo

    def look_up(host, port, *args, **options):
        if host in addresses and addresses[host] is None:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return real(addresses.get(host, host), port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return addresses


def test_a_gateway_whose_name_has_another_address_by_now_is_read_and_locked_there(simulated_gateway, run, name_server):
    before = simulated_gateway({1: rising()})
    after = simulated_gateway({1: constant()}, host="127.0.0.2", port=before.port)
    named = meter(before, host="meter.test")
    assert [run.read(named) for _ in range(2)] == [[1], [2]]
    assert run.locks._held == {f"127.0.0.1:{before.port}"}
    name_server["meter.test"] = "127.0.0.2"
    assert [run.read(named) for _ in range(2)] == [[1000], [1000]]
    assert run.locks._held == {f"127.0.0.2:{before.port}"}
    eventually(lambda: before.open_connections == 0)
    assert after.connections == 1


def test_a_kept_gateway_is_read_while_its_name_does_not_resolve(simulated_gateway, run, name_server):
    gateway = simulated_gateway({1: rising()})
    named = meter(gateway, host="meter.test")
    assert run.read(named) == [1]
    name_server["meter.test"] = None
    assert [run.read(named) for _ in range(2)] == [[2], [3]]
    assert gateway.connections == 1


@pytest.mark.parametrize("transport", [TransportKind.TCP, TransportKind.RTU])
@pytest.mark.parametrize("pause_s", [0.0, 0.3])
def test_a_late_reply_that_arrives_on_the_kept_connection_is_not_taken_for_the_next_one(
    simulated_gateway, run, transport, pause_s
):
    """The gateway sends it on its newest connection, between two readings, or during the next one."""
    slow = constant()
    gateway = simulated_gateway({1: constant(), 2: slow}, rtu=transport is TransportKind.RTU, replies_on_newest=True)
    meter_type = replace(TYPE, keep_connection=True, timeout_s=0.3)
    meters = [meter(gateway, unit, transport=transport) for unit in (2, 1)]
    assert run.read(*meters, meter_type=meter_type) == [1000, 1000]
    slow.delay_s = 0.45
    [failed, _] = run.readings(*meters, meter_type=meter_type)
    assert failed.failure.kind is FailureKind.TIMEOUT
    slow.delay_s = 0.0
    other_register = replace(meter_type, registers=(replace(TYPE.registers[0], register_address=5),))
    for _ in range(2):
        time.sleep(pause_s)
        assert run.read(*meters, meter_type=other_register) == [1005, 1005]
