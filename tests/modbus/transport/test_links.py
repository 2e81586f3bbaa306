"""Meters over each transport, against units written for these tests: RTU over TCP, UDP, and serial lines."""

import time
from dataclasses import replace

import pytest
from support.lines import SerialLine, UdpGateway
from support.meters import SimulatedUnit

from emm_pipeline.event_loop import run_fast
from emm_pipeline.fleet import DataType, EnergyMeter, FunctionCode, GatewayAddress, MeterType, Register, TransportKind
from emm_pipeline.modbus.fleet_reading import read_meters
from emm_pipeline.modbus.gateway_locks import Unlocked, lock_names, locked
from emm_pipeline.modbus.reachability import find_unreachable
from emm_pipeline.modbus.session import Session, Timing
from emm_pipeline.modbus.transport.serial import SerialSettings
from emm_pipeline.readings import FailureKind, Request

HOLDING = FunctionCode.READ_HOLDING_REGISTERS
TYPE = MeterType(
    "t",
    (Register(7, "seven", None, DataType.INT, HOLDING), Register(107, "far", None, DataType.INT, HOLDING)),
    timeout_s=0.5,
)
PATIENT = replace(TYPE, timeout_s=30.0)
SERIAL = TransportKind.SERIAL


def address_as_value(_, address):
    return address


def values_of(reading):
    return [int.from_bytes(block.data) for block in reading.blocks]


def read(meters, meter_type=PATIENT):
    return run_fast(read_meters(meters, {"t": meter_type}, deadline=time.monotonic() + 60))


def on_line(line, unit_id=1):
    return EnergyMeter(unit_id, line.path, 1, unit_id, "t", transport=SERIAL, serial_settings="9600 8N1")


# --- RTU over TCP


def over_rtu(gateway, unit_id=1):
    return EnergyMeter(unit_id, gateway.host, gateway.port, unit_id, "t", transport=TransportKind.RTU)


def test_a_meter_behind_a_transparent_converter_is_read(simulated_gateway):
    gateway = simulated_gateway({1: SimulatedUnit(address_as_value)}, rtu=True)
    [reading] = read([over_rtu(gateway)])
    assert (values_of(reading), reading.failure, reading.notices) == ([7, 107], None, ())
    assert gateway.requests == 2


def test_a_reply_in_single_bytes_is_put_together(simulated_gateway):
    gateway = simulated_gateway({1: SimulatedUnit(address_as_value, byte_by_byte=True)}, rtu=True)
    assert values_of(read([over_rtu(gateway)])[0]) == [7, 107]


def test_a_late_reply_of_one_unit_does_not_affect_the_others(simulated_gateway):
    units = {1: SimulatedUnit(lambda _, address: 1, delay_s=0.7), 2: SimulatedUnit(address_as_value, delay_s=0.3)}
    gateway = simulated_gateway(units, rtu=True)
    late, good = read([over_rtu(gateway, 1), over_rtu(gateway, 2)], TYPE)
    assert late.failure.kind is FailureKind.TIMEOUT
    assert values_of(good) == [7, 107]


def test_a_late_reply_is_not_taken_for_that_to_the_next_request_to_the_same_unit(clock):
    """Both replies look alike, and the converter sends the late one on the newest connection."""
    gateway = clock.gateway({1: SimulatedUnit(address_as_value, delay_s=1.3)}, rtu=True, replies_on_newest=True)

    async def read_twice():
        session = Session(GatewayAddress(gateway.host, gateway.port, TransportKind.RTU), Timing(0.5))
        first = await session.read(1, Request(HOLDING, 7, 1))
        gateway.units[1].delay_s = 0.1
        second = await session.read(1, Request(HOLDING, 107, 1))
        session.close()
        return first, second

    first, second = clock.run(read_twice())
    assert first.kind is FailureKind.TIMEOUT
    assert second.words == (107,)


def test_an_exception_reply_is_reported(simulated_gateway):
    gateway = simulated_gateway({1: SimulatedUnit(address_as_value, exception=1)}, rtu=True)
    assert read([over_rtu(gateway)])[0].failure.exception_code == 1


def test_a_transparent_converter_does_not_reply_to_modbus_tcp(simulated_gateway):
    gateway = simulated_gateway({1: SimulatedUnit(address_as_value)}, rtu=True)
    [reading] = read([replace(over_rtu(gateway), transport=TransportKind.TCP)], TYPE)
    assert reading.failure.kind is FailureKind.TIMEOUT


# --- UDP


def over_udp(gateway, unit_id=1):
    return EnergyMeter(unit_id, gateway.host, gateway.port, unit_id, "t", transport=TransportKind.UDP)


def test_a_meter_is_read_over_udp():
    with UdpGateway({1: address_as_value}) as gateway:
        [reading] = read([over_udp(gateway)])
    assert (values_of(reading), reading.failure) == ([7, 107], None)
    assert gateway.requests == 2


def test_a_lost_datagram_is_a_timeout_of_its_unit():
    with UdpGateway({1: address_as_value, 2: address_as_value}, loses=lambda number: number == 2) as gateway:
        first, second = read([over_udp(gateway, 1), over_udp(gateway, 2)], replace(TYPE, max_gap=0))
    assert (values_of(first), first.failure.kind) == ([7], FailureKind.TIMEOUT)
    assert values_of(second) == [7, 107]


def test_a_port_where_nothing_listens_is_reported():
    with UdpGateway({}) as gateway:
        pass
    [reading] = read([over_udp(gateway)])
    assert reading.failure.kind is FailureKind.REFUSED
    assert "nothing listens at this UDP port" in reading.failure.reason
    assert f"udp 127.0.0.1:{gateway.port} unit 1" in reading.failure.reason


# --- serial lines


def test_the_units_of_a_serial_line_are_read_in_turn():
    with SerialLine({1: address_as_value, 5: lambda _, address: address + 1}) as line:
        first, fifth = read([on_line(line, 1), on_line(line, 5)])
    assert (values_of(first), values_of(fifth)) == ([7, 107], [8, 108])
    assert first.failure is None


def test_a_silent_unit_of_a_serial_line_does_not_affect_the_others():
    with SerialLine({5: address_as_value}) as line:
        silent, good = read([on_line(line, 1), on_line(line, 5)], TYPE)
    assert silent.failure.kind is FailureKind.TIMEOUT
    assert silent.failure.reason.startswith(f"serial {line.path} unit 1: no reply within 0.5 s")
    assert values_of(good) == [7, 107]


def test_a_flipped_bit_on_a_serial_line_gives_no_value():
    with SerialLine({1: address_as_value}, reply=lambda frame: frame[:4] + bytes([frame[4] ^ 1]) + frame[5:]) as line:
        [reading] = read([on_line(line)])
    assert reading.failure.kind is FailureKind.INVALID_REPLY
    assert "checksum" in reading.failure.reason
    assert reading.blocks == ()


def test_noise_before_a_request_is_dropped():
    with SerialLine({1: address_as_value}) as line:
        line.send(b"\x00\xff\x13")
        [reading] = read([on_line(line)])
    assert values_of(reading) == [7, 107]


def test_an_adapter_that_echoes_requests_is_read_and_the_echo_reported():
    with SerialLine({1: address_as_value, 5: address_as_value}, echoes=True) as line:
        readings = read([on_line(line, 1), on_line(line, 5)])
    assert [values_of(reading) for reading in readings] == [[7, 107]] * 2
    assert readings[0].notices == ("the adapter sends each request back before the reply; these bytes are dropped",)


def test_an_echo_is_no_reply_of_a_silent_unit():
    with SerialLine({5: address_as_value}, echoes=True) as line:
        silent, good = read([on_line(line, 1), on_line(line, 5)], TYPE)
    assert (silent.failure.kind, silent.blocks) == (FailureKind.TIMEOUT, ())
    assert values_of(good) == [7, 107]


def test_a_line_with_noise_before_each_reply_is_read_and_the_noise_reported():
    with SerialLine({1: address_as_value}, reply=lambda frame: b"\xff\x00" + frame) as line:
        [reading] = read([on_line(line)])
    assert values_of(reading) == [7, 107]
    assert "bias resistors" in " ".join(reading.notices)


def test_a_device_that_is_not_there_is_reported():
    [reading] = read([EnergyMeter(1, "/dev/emm-nothing", 1, 1, "t", transport=SERIAL)])
    assert reading.failure.kind is FailureKind.REFUSED
    assert reading.failure.reason == "serial /dev/emm-nothing unit 1: no such file or directory"


def test_two_meters_with_different_settings_on_one_line_are_read_one_after_the_other():
    with SerialLine({1: address_as_value, 5: address_as_value}) as line:
        faster = replace(on_line(line, 5), serial_settings="19200 8E1")
        readings = read([on_line(line, 1), faster])
    assert [values_of(reading) for reading in readings] == [[7, 107]] * 2


@pytest.mark.parametrize(
    ("settings", "silent_ms"), [("9600 8N1", 3.65), ("19200 8E1", 2.01), ("115200 8N1", 1.75), ("2400 8N2", 16.04)]
)
def test_frames_are_apart_by_three_and_a_half_characters(settings, silent_ms):
    assert SerialSettings.parse(settings).silent_s * 1000 == pytest.approx(silent_ms, abs=0.01)


# --- all of them


def test_discovery_tests_each_transport(simulated_gateway):
    gateway = simulated_gateway({}, rtu=True)
    with SerialLine({}) as line, UdpGateway({}) as datagrams:
        meters = [over_rtu(gateway), over_udp(datagrams), on_line(line)]
        gone = EnergyMeter(4, "/dev/emm-nothing", 1, 1, "t", transport=SERIAL)
        unreachable = run_fast(find_unreachable({meter.gateway for meter in [*meters, gone]}))
    assert unreachable == {gone.gateway: "no such file or directory"}


def test_a_link_to_a_serial_device_is_the_same_line(tmp_path):
    """As those in /dev/serial/by-id."""
    with SerialLine({1: address_as_value, 5: address_as_value}) as line:
        (tmp_path / "by-id").symlink_to(line.path)
        linked = replace(on_line(line, 5), host=str(tmp_path / "by-id"))
        readings = read([on_line(line, 1), linked])
    assert [reading.failure for reading in readings] == [None, None]


def test_discovery_does_not_connect_to_a_gateway_while_a_poll_has_it(simulated_gateway):
    gateway = simulated_gateway({})
    address = GatewayAddress(gateway.host, gateway.port)

    async def test_while_it_is_locked():
        locks = Unlocked()
        async with locked(locks, address):
            return await find_unreachable({address}, locks=locks)

    assert run_fast(test_while_it_is_locked()) == {}
    assert gateway.connections == 0


@pytest.mark.parametrize(
    ("host", "port", "names"),
    [
        ("10.0.0.5", 502, ("10.0.0.5:502",)),
        ("::1", 502, ("::1:502",)),
        ("name.invalid", 502, ("name.invalid:502",)),
        ("/dev/emm-nothing", 1, ("/dev/emm-nothing",)),
    ],
)
def test_a_gateway_is_locked_by_its_address(host, port, names):
    assert run_fast(lock_names(GatewayAddress(host, port))) == names


def test_two_names_of_a_gateway_are_one_lock_whatever_the_transport():
    by_name, by_address = GatewayAddress("localhost", 502), GatewayAddress("127.0.0.1", 502, TransportKind.RTU)
    assert set(run_fast(lock_names(by_address))) <= set(run_fast(lock_names(by_name)))
