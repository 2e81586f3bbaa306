"""EMM polls and scans a virtual server over each transport."""

import math
import time
from contextlib import ExitStack
from itertools import product

import pytest
from support.ports import free_port
from support.third_parties import terminals

from emm_pipeline.commissioning.scanning import Probe, Scan, Watcher, scan
from emm_pipeline.event_loop import run_fast
from emm_pipeline.fleet import DataType, EnergyMeter, FunctionCode, MeterType, Order, Register, TransportKind
from emm_pipeline.modbus.decoding import decode_readings
from emm_pipeline.modbus.fleet_reading import read_meters
from emm_pipeline.modbus.gateway_locks import Unlocked
from emm_pipeline.modbus.reachability import find_unreachable
from emm_pipeline.modbus.session import Timing
from emm_pipeline.readings import FailureKind, Request
from virtual_modbustcp_server.server import VirtualModbusTCPServer

VALUES = {1: -1234, 2: -123456789, 3: 230.5, 4: 54321, 5: 3123456789, 6: -(2**40) - 3, 7: 2**50 + 5, 8: math.pi}
EVERYTHING = [
    (400 * (function_code - 3) + 4 * place, *each)
    for function_code in FunctionCode
    if function_code >= FunctionCode.READ_HOLDING_REGISTERS
    for place, each in enumerate(product([function_code], VALUES, Order, Order))
]
"""Address, function code, type and orders of each value."""


class Device(VirtualModbusTCPServer):
    def set_datastore(self):
        for address, function_code, data_type, word_order, byte_order in EVERYTHING:
            orders = {"word_order": word_order, "byte_order": byte_order}
            self.write(address, VALUES[data_type], data_type, unit_id=5, function_code=function_code, **orders)


def type_of(timeout_s):
    registers = tuple(
        Register(address, f"{address}", None, DataType(data_type), function_code, word_order, byte_order)
        for address, function_code, data_type, word_order, byte_order in EVERYTHING
    )
    return MeterType("t", registers, max_gap=0, timeout_s=timeout_s)


@pytest.fixture(params=TransportKind, ids=str)
def meter(request, tmp_path):
    """A meter that is unit 5 of a virtual server."""
    transport = request.param
    with ExitStack() as stack:
        if transport is TransportKind.SERIAL:
            path, theirs = stack.enter_context(terminals(tmp_path))
            stack.enter_context(Device(str(theirs), 1, transport=str(transport)))
            yield EnergyMeter(1, str(path), 1, 5, "t", transport=transport, serial_settings="9600 8N1")
        else:
            server = stack.enter_context(Device("127.0.0.1", 0, transport=str(transport)))
            yield EnergyMeter(1, "127.0.0.1", server.port, 5, "t", transport=transport)


def read(meter, timeout_s=30.0):
    types = {"t": type_of(timeout_s)}
    [reading] = run_fast(read_meters([meter], types, deadline=time.monotonic() + 100))
    return reading, decode_readings([reading], types)


def test_every_type_and_order_is_polled(meter):
    for _ in range(3):
        reading, frame = read(meter)
        assert (reading.failure, reading.notices) == (None, ())
        wanted = {str(address): VALUES[data_type] for address, _, data_type, _, _ in EVERYTHING}
        values = dict(zip(frame["measurement"], frame["value"], strict=True))
        assert values == pytest.approx(wanted, rel=1e-15)


def test_a_scan_finds_the_unit_and_discovery_reaches_the_server(meter):
    state = Scan([5, 6])
    request = Request(FunctionCode.READ_HOLDING_REGISTERS, 0, 1)
    run_fast(scan(Probe(meter.gateway, request, Timing(1.0)), state, Unlocked(), Watcher(lambda: None)))
    assert [found.unit_id for found in state.found] == [5]
    assert run_fast(find_unreachable({meter.gateway})) == {}


def test_a_unit_that_is_not_there_gets_no_value(meter):
    absent = EnergyMeter(
        *(2, meter.host, meter.port, 6, "t"), transport=meter.transport, serial_settings=meter.serial_settings
    )
    reading, _ = read(absent, timeout_s=1.0)
    assert reading.blocks == ()
    is_silent = meter.transport in {TransportKind.RTU, TransportKind.SERIAL}
    assert reading.failure.kind is (FailureKind.TIMEOUT if is_silent else FailureKind.EXCEPTION)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"transport": "rs485"}, "transport 'rs485' is unknown; allowed: tcp, rtu, udp, serial"),
        ({"transport": "serial", "serial_settings": "9600"}, "serial settings '9600' are invalid"),
        ({"transport": "serial"}, "cannot listen on /dev/emm-nothing .serial.: no such file or directory"),
    ],
)
def test_a_place_that_cannot_be_served_is_refused_with_the_reason(options, reason):
    with pytest.raises((OSError, ValueError), match=reason):
        Device("/dev/emm-nothing", 1, **options).start()


def test_a_udp_port_that_is_in_use_is_refused_with_the_reason():
    port = free_port()
    with Device("127.0.0.1", port, transport="udp"), pytest.raises(OSError, match="in use"):
        Device("127.0.0.1", port, transport="udp").start()
