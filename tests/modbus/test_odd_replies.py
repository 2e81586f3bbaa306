"""Devices that do not quite follow the protocol: what is accepted, what is refused, and what is reported."""

import time
from dataclasses import replace
from itertools import pairwise

import pytest
from support.meters import SimulatedUnit

from emm_pipeline.event_loop import run_fast
from emm_pipeline.fleet import DataType, EnergyMeter, FunctionCode, MeterType, Register
from emm_pipeline.modbus.fleet_reading import Conditions, read_meters
from emm_pipeline.readings import FailureKind

HOLDING = FunctionCode.READ_HOLDING_REGISTERS
ADDRESSES = (0, 100, 200, 300)
TYPE = MeterType("t", tuple(Register(a, f"m{a}", None, DataType.UINT16, HOLDING) for a in ADDRESSES), timeout_s=30.0)
IMPATIENT = replace(TYPE, timeout_s=0.5)


def odd(**oddity):
    return SimulatedUnit(lambda _, address: 1000 + address, **oddity)


def meters_of(gateway):
    return [EnergyMeter(unit, gateway.host, gateway.port, unit, "t") for unit in gateway.units]


def read(gateway, meter_type=TYPE):
    meters = meters_of(gateway)
    return run_fast(read_meters(meters, {"t": meter_type}, deadline=time.monotonic() + 100))


def read_by(clock, gateway, meter_type=TYPE, **conditions):
    meters = meters_of(gateway)
    return clock.run(read_meters(meters, {"t": meter_type}, deadline=time.monotonic() + 100, **conditions))


def is_whole(reading):
    values = {block.request.address: int.from_bytes(block.data) for block in reading.blocks}
    return reading.failure is None and values == {address: 1000 + address for address in ADDRESSES}


ACCEPTED = {
    "transaction id 0": ({"transaction_id": 0}, "transaction id 0"),
    "always the same transaction id": ({"transaction_id": 1}, "transaction id 0, or another one"),
    "the same reply twice, in one segment": ({"doubled_after_s": 0}, "twice"),
    "the same reply twice, a moment later": ({"doubled_after_s": 0.005, "delay_s": 0.01}, "twice"),
    "a byte more that the length covers": ({"surplus_in_frame": b"\x5f"}, "surplus bytes"),
    "two bytes behind the frame": ({"trailing": b"\xaa\xbb"}, "surplus bytes"),
    "transaction id 0, and each reply twice": ({"transaction_id": 0, "doubled_after_s": 0}, "transaction id 0"),
    "transaction id 0, and each reply again later": (
        {"transaction_id": 0, "doubled_after_s": 0.005},
        "transaction id 0",
    ),
}


@pytest.mark.parametrize(("oddity", "notice"), ACCEPTED.values(), ids=ACCEPTED)
def test_a_device_with_this_oddity_is_read_completely_and_the_oddity_reported_once(clock, oddity, notice):
    gateway = clock.gateway({1: odd(**oddity), 2: SimulatedUnit(lambda _, address: 1000 + address)})
    strange, good = read_by(clock, gateway)
    assert is_whole(strange)
    assert any(notice in line for line in strange.notices)
    assert len(set(strange.notices)) < 3
    assert is_whole(good)


@pytest.mark.parametrize("oddity", [oddity for oddity, _ in ACCEPTED.values()], ids=ACCEPTED)
def test_a_device_with_this_oddity_that_refuses_a_gap_is_read_completely(clock, oddity):
    """Its exception replies are odd, too."""
    bridged = MeterType("t", tuple(Register(a, f"m{a}", None, DataType.UINT16, HOLDING) for a in (0, 4, 8)))
    gateway = clock.gateway({1: odd(exceptions={2: 2}, **oddity)})
    [reading] = read_by(clock, gateway, bridged)
    values = {
        block.request.address + i: int.from_bytes(block.data[2 * i : 2 * i + 2])
        for block in reading.blocks
        for i in range(block.request.count)
    }
    assert reading.failure is None
    assert {address: values[address] for address in (0, 4, 8)} == {0: 1000, 4: 1004, 8: 1008}


def test_a_copy_of_a_reply_without_id_is_never_taken_for_the_next_reply(clock):
    """A quick fix that accepted id 0 stored the value of the register before."""
    for pause_s in (0.0, 0.001, 0.005, 0.05, 0.2):
        gateway = clock.gateway({1: odd(transaction_id=0, doubled_after_s=pause_s)})
        [reading] = read_by(clock, gateway)
        assert all(int.from_bytes(block.data) == 1000 + block.request.address for block in reading.blocks)


def test_bytes_before_the_first_request_are_dropped(simulated_gateway):
    gateway = simulated_gateway({1: odd()}, greeting=b"welcome\r\n")
    [reading] = read(gateway)
    assert is_whole(reading)
    assert "sent other bytes before its first reply" in " ".join(reading.notices)


def test_a_device_that_doubles_every_third_reply_is_read_completely(clock):
    gateway = clock.gateway({1: odd()})
    unit = gateway.units[1]
    unit.waits_for = lambda: setattr(unit, "doubled_after_s", None if gateway.requests % 3 else 0.005) or True
    for _ in range(3):
        assert is_whole(read_by(clock, gateway)[0])


def test_another_unit_id_is_refused_and_named(simulated_gateway):
    [reading] = read(simulated_gateway({1: odd(answer_as_unit=0)}))
    assert reading.failure.kind is FailureKind.INVALID_REPLY
    assert "the device answers as unit 0" in reading.failure.reason
    assert reading.blocks == ()


@pytest.mark.parametrize(
    "oddity",
    [{"extra_registers": 1}, {"extra_registers": -1}, {"answer_as_function": 4}, {"protocol_id": 7}],
    ids=["more registers", "fewer registers", "another function", "another protocol"],
)
@pytest.mark.parametrize("transaction_id", [None, 0])
def test_other_registers_than_the_requested_ones_are_never_accepted(clock, oddity, transaction_id):
    [reading] = read_by(clock, clock.gateway({1: odd(**oddity, transaction_id=transaction_id)}))
    assert reading.blocks == ()
    assert reading.failure.kind is FailureKind.INVALID_REPLY


def test_a_gateway_that_echoes_ids_once_must_always_do_so(clock):
    """Id 0 may then be the reply to another client."""
    gateway = clock.gateway({1: odd()})
    unit = gateway.units[1]
    unit.waits_for = lambda: setattr(unit, "transaction_id", 0 if gateway.requests > 2 else None) or True
    [reading] = read_by(clock, gateway)
    assert len(reading.blocks) == 2
    assert "transaction id 0 instead of" in reading.failure.reason


def test_a_well_behaved_device_gets_one_request_per_block_over_one_connection(simulated_gateway):
    gateway = simulated_gateway({1: odd(), 2: odd()})
    readings = read(gateway)
    assert all(map(is_whole, readings))
    assert [reading.notices for reading in readings] == [(), ()]
    assert (gateway.requests, gateway.connections) == (8, 1)


# --- connections


def test_a_gateway_that_loses_the_first_request_of_each_connection_is_read_completely(clock):
    gateway = clock.gateway({1: odd(), 2: odd()}, loses_first_request=True)
    assert all(map(is_whole, read_by(clock, gateway)))


def test_a_meter_alone_behind_such_a_gateway_is_read_completely(clock):
    assert is_whole(read_by(clock, clock.gateway({1: odd()}, loses_first_request=True))[0])


def test_a_device_that_receives_nothing_after_connecting_is_read_with_a_pause(clock):
    patient = replace(IMPATIENT, connect_pause_s=2.0)
    gateway = clock.gateway({1: odd()}, deaf_s=1.9)
    assert read_by(clock, gateway, IMPATIENT)[0].failure.kind is FailureKind.TIMEOUT
    [reading] = read_by(clock, gateway, patient)
    assert is_whole(reading)
    assert reading.requests == 4


def test_a_dead_unit_that_comes_first_delays_the_others_by_one_timeout(clock):
    gateway = clock.gateway({1: odd(silent=True), 2: odd(), 3: odd()})
    dead, *others = read_by(clock, gateway, IMPATIENT)
    assert all(map(is_whole, others))
    assert (dead.failure.kind, dead.requests) == (FailureKind.TIMEOUT, 1)
    assert clock.seconds == pytest.approx(0.5, abs=0.01)


def test_the_pause_before_a_connection_is_opened_again_is_kept(clock):
    patient = replace(TYPE, reopen_pause_s=5.0)
    gateway = clock.gateway({1: odd()}, requests_per_connection=2)
    [reading] = read_by(clock, gateway, patient)
    assert is_whole(reading)
    times = [received.at for received in gateway.received]
    assert any(later - earlier >= 5.0 for earlier, later in pairwise(times))


# --- silence in place of an exception


KNOWN = {0, 1, 10, 11, 40, 41}
SPARSE = MeterType("t", tuple(Register(a, f"m{a}", None, DataType.FLOAT, HOLDING) for a in (0, 10, 40)), timeout_s=0.5)


def touches_others(request):
    return not set(range(request.address, request.address + request.count)) <= KNOWN


def polled(clock, gateway, meter_type, times):
    """Poll as the schedule does: each poll knows the results of the one before."""
    conditions, readings = Conditions(), []
    for _ in range(times):
        [reading] = read_by(clock, gateway, meter_type, conditions=conditions)
        readings.append(reading)
        silent = {1} if not reading.blocks else ()
        left_out = {1: tuple(each for each in reading.unsupported if not each.is_temporary)}
        retried = {1: tuple(each for each in reading.unsupported if each.is_temporary)}
        conditions = Conditions(unsupported=left_out, retried=retried, silent=silent)
    return readings


@pytest.mark.parametrize("manner", ["ignores", "closes_on"])
def test_a_device_that_does_not_answer_for_unknown_registers_is_read_completely(clock, manner):
    gateway = clock.gateway({1: odd(**{manner: touches_others})})
    first, *others = polled(clock, gateway, SPARSE, 4)
    assert first.blocks == ()
    for reading in others:
        assert reading.failure is None
        assert {block.request.address for block in reading.blocks} == {0, 10, 40}
    requests = gateway.requests
    [reading] = polled(clock, gateway, SPARSE, 4)[-1:]
    assert others[-1].requests == 3, "the gap is remembered"
    assert gateway.requests > requests


def test_a_device_that_ignores_long_requests_is_read_completely_and_they_are_not_repeated(clock):
    long = MeterType(
        "t", tuple(Register(2 * i, f"m{i}", None, DataType.FLOAT, HOLDING) for i in range(15)), timeout_s=0.5
    )
    gateway = clock.gateway({1: odd(ignores=lambda request: request.count > 20)})
    readings = polled(clock, gateway, long, 3)
    assert sum(block.request.count for block in readings[-1].blocks) == 30
    assert (readings[-1].requests, readings[-1].failure) == (2, None)


@pytest.mark.parametrize("manner", ["ignores", "closes_on"])
def test_one_unknown_value_affects_no_other_and_is_named(clock, manner):
    many = MeterType(
        "t", tuple(Register(2 * i, f"m{i}", None, DataType.FLOAT, HOLDING) for i in range(16)), timeout_s=0.5
    )
    gateway = clock.gateway(
        {1: odd(**{manner: lambda request: request.address <= 20 < request.address + request.count})}
    )
    readings = polled(clock, gateway, many, 4)
    covered = {a for block in readings[-1].blocks for a in range(block.request.address, block.request.end)}
    assert covered == set(range(32)) - {20, 21}
    assert readings[-1].failure is None
    assert any("registers 20-21 (m10): no reply" in notice for notice in readings[-1].notices)


def test_a_dead_unit_is_asked_for_one_value_and_costs_one_timeout(clock):
    gateway = clock.gateway({1: odd(silent=True), 2: odd()})
    dead, good = read_by(clock, gateway, SPARSE, conditions=Conditions(silent={1}, failing={1}))
    assert (dead.requests, dead.failure.kind) == (1, FailureKind.TIMEOUT)
    assert good.failure is None
    assert clock.seconds == pytest.approx(0.5, abs=0.01)


def test_a_unit_that_dies_while_it_is_read_is_not_taken_for_one_that_refuses(clock):
    gateway = clock.gateway({1: odd()})
    unit = gateway.units[1]
    unit.silent = lambda: gateway.requests > 2
    [reading] = read_by(clock, gateway, IMPATIENT)
    assert reading.failure.kind is FailureKind.TIMEOUT
    assert reading.unsupported == ()
    assert len(reading.blocks) == 2


def test_names_of_one_gateway_are_read_one_after_the_other(simulated_gateway):
    gateway = simulated_gateway({1: odd(delay_s=0.02), 2: odd(delay_s=0.02)})
    meters = [EnergyMeter(1, "127.0.0.1", gateway.port, 1, "t"), EnergyMeter(2, "localhost", gateway.port, 2, "t")]
    readings = run_fast(read_meters(meters, {"t": TYPE}, deadline=time.monotonic() + 100))
    assert all(map(is_whole, readings))
    assert gateway.max_open_connections == 1


# --- other servers at the port


@pytest.mark.parametrize(
    ("garbage", "reason"),
    [
        (bytes.fromhex("15030100020246"), "a TLS server replied"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "a web server replied"),
        (b"SSH-2.0-dropbear\r\n", "an SSH server replied"),
        (bytes.fromhex("0103040000 0001 3b f3".replace(" ", "")), "an RTU frame was received"),
    ],
)
def test_another_server_that_replies_in_place_of_a_gateway_is_named(clock, garbage, reason):
    [reading] = read_by(clock, clock.gateway({1: odd(garbage=garbage)}), IMPATIENT)
    assert reason in reading.failure.reason
    assert reading.failure.kind is FailureKind.INVALID_REPLY
