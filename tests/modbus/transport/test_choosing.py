"""All code that sends requests to a gateway uses the transport that `choosing` selects."""

import asyncio
import struct
import time
from dataclasses import replace

import pytest

from emm_pipeline.commissioning.checking import check_meters
from emm_pipeline.commissioning.scanning import Probe, Scan, Watcher, scan
from emm_pipeline.event_loop import run_fast
from emm_pipeline.fleet import DataType, EnergyMeter, FunctionCode, GatewayAddress, MeterType, Register, TransportKind
from emm_pipeline.modbus.fleet_reading import read_meters
from emm_pipeline.modbus.gateway_locks import Unlocked
from emm_pipeline.modbus.reachability import find_unreachable
from emm_pipeline.modbus.session import Session, Timing
from emm_pipeline.modbus.transport import choosing
from emm_pipeline.modbus.transport.base import ConnectError, ExceptionReplyError
from emm_pipeline.modbus.transport.lateness import LateReplies
from emm_pipeline.readings import FailureKind, Request

HOLDING = FunctionCode.READ_HOLDING_REGISTERS
TYPE = MeterType("t", (Register(7, "seven", None, DataType.INT, HOLDING),), timeout_s=30)
ON_THE_BUS = EnergyMeter(1, "bus", 1, 3, "t", transport="bus")
GONE = EnergyMeter(2, "gone", 1, 3, "t", transport="bus")
ONE_REGISTER = Request(HOLDING, 7, 1)


class Bus:
    """A transport without sockets: the registers of unit 3 contain their addresses; the host `gone` does not exist."""

    has_ids = False

    def __init__(self, gateway):
        self.notices, self.was_resent, self.late = [], False, LateReplies()
        self.name, self._host, self.is_open = gateway.name, gateway.host, False

    async def open(self, timeout_s):
        await asyncio.sleep(0)
        if self._host == "gone":
            raise ConnectError("no such bus")
        self.is_open = True

    async def exchange(self, unit_id, request, timeout_s, on_send=lambda: None, *, resend_after_s=None):
        on_send()
        await asyncio.sleep(0)
        if unit_id != 3:
            raise ExceptionReplyError("exception 11", 11)
        return struct.pack(f">{request.count}H", *range(request.address, request.end))

    def may_confuse(self, unit_id, request):
        return False

    def close(self):
        self.is_open = False


@pytest.fixture(autouse=True)
def bus(monkeypatch):
    monkeypatch.setitem(choosing.TRANSPORTS, "bus", Bus)


def test_polls_use_the_transport_of_each_meter(simulated_gateway):
    over_tcp = EnergyMeter(3, "127.0.0.1", simulated_gateway({}).port, 3, "t")
    meters = [ON_THE_BUS, GONE, over_tcp]
    readings = run_fast(read_meters(meters, {"t": TYPE}, deadline=time.monotonic() + 60))
    assert [block.data for block in readings[0].blocks] == [b"\0\7"]
    assert readings[1].failure.kind is FailureKind.REFUSED
    assert readings[1].failure.reason == "bus gone:1 unit 3: no such bus"
    assert readings[2].failure.exception_code == 11


def test_one_address_over_two_transports_is_two_gateways():
    over_tcp = replace(ON_THE_BUS, id=9, host="127.0.0.1", transport=TransportKind.TCP)
    assert over_tcp.gateway != replace(over_tcp, transport="bus").gateway


def test_a_scan_uses_the_selected_transport():
    state = Scan(range(1, 6))
    probe = Probe(ON_THE_BUS.gateway, ONE_REGISTER, Timing(30))
    asyncio.run(scan(probe, state, Unlocked(), Watcher(lambda: None)))
    assert [(found.unit_id, found.reply.words) for found in state.found] == [(3, (7,))]


def test_a_check_uses_the_selected_transport():
    steps = []
    checks = check_meters([ON_THE_BUS, GONE], {"t": TYPE}, Unlocked(), lambda: steps.append(1), lambda: None)
    good, gone = asyncio.run(checks)
    assert [register.value for register in good.registers] == [7.0]
    assert good.ok
    assert str(gone.failure) == "no such bus"


def test_reading_registers_uses_the_selected_transport():
    assert asyncio.run(Session(ON_THE_BUS.gateway, Timing(30)).read(3, ONE_REGISTER)).words == (7,)


def test_the_test_of_reachability_uses_the_selected_transport():
    unreachable = asyncio.run(find_unreachable({ON_THE_BUS.gateway, GONE.gateway}))
    assert unreachable == {GONE.gateway: "no such bus"}


def test_a_transport_has_a_name_for_messages():
    gateway = GatewayAddress("10.0.0.5", 502)
    assert choosing.transport_to(gateway).name == Session(gateway, Timing(1)).gateway.name == "tcp 10.0.0.5:502"
