"""A session with a gateway, with real sockets: pauses and late replies."""

import asyncio
import subprocess
import sys
import time
from itertools import repeat

import pytest
from support.meters import SimulatedUnit

from emm_pipeline.event_loop import run_fast, sleep_until
from emm_pipeline.fleet import FunctionCode, GatewayAddress, TransportKind
from emm_pipeline.modbus.session import Session, Timing
from emm_pipeline.modbus.transport import choosing
from emm_pipeline.modbus.transport.mbap import MbapFraming
from emm_pipeline.modbus.transport.memory import Unanswered
from emm_pipeline.modbus.transport.tcp import TcpTransport
from emm_pipeline.readings import FailureKind, Request

HOLDING = FunctionCode.READ_HOLDING_REGISTERS
ADDRESS_AS_VALUE = SimulatedUnit(lambda _, address: address)


def request(address):
    return Request(HOLDING, address, 1)


def session_with(gateway, **timing):
    return Session(GatewayAddress(gateway.host, gateway.port), Timing(**({"timeout_s": 5.0} | timing)))


def replies_of_a_gateway_that_is_late(clock):
    """Three requests to a gateway that takes longer than the timeout and sends what it has on the newest connection."""
    gateway = clock.gateway({1: SimulatedUnit(lambda _, address: address, delay_s=0.45)}, replies_on_newest=True)

    async def read_three():
        session = session_with(gateway, timeout_s=0.2)
        replies = [await session.read(1, request(address)) for address in (10, 20, 30)]
        session.close()
        return replies

    return clock.run(read_three())


def without_transaction_ids(monkeypatch):
    always_1 = {TransportKind.TCP: lambda gateway: TcpTransport(gateway, MbapFraming(repeat(1)))}
    monkeypatch.setattr(choosing, "TRANSPORTS", always_1)


def without_waiting_for_late_replies(monkeypatch):
    monkeypatch.setattr(Unanswered, "safe_at", lambda *_: 0.0)


@pytest.mark.parametrize("without", [None, without_transaction_ids, without_waiting_for_late_replies])
def test_a_late_reply_on_the_newest_connection_is_not_taken_for_that_of_the_next_request(clock, monkeypatch, without):
    """Two things prevent it, each by itself: transaction ids, and a pause after a request that got no reply."""
    if without:
        without(monkeypatch)
    first, *others = replies_of_a_gateway_that_is_late(clock)
    assert first.kind is FailureKind.TIMEOUT
    assert {reply.words for reply in others} <= {(), (20,), (30,)}


def test_that_gateway_gives_wrong_values_without_both(clock, monkeypatch):
    """So that the test above tests something."""
    without_transaction_ids(monkeypatch)
    without_waiting_for_late_replies(monkeypatch)
    _, *others = replies_of_a_gateway_that_is_late(clock)
    assert (10,) in [reply.words for reply in others]


def test_each_process_begins_with_another_transaction_id_a_forked_one_too():
    code = """
import os
from emm_pipeline.modbus.transport.memory import Unanswered
from emm_pipeline.modbus.transport.mbap import TransactionIds
ids = TransactionIds()
if not os.fork():
    print(next(ids))
    os._exit(0)
os.wait()
print(next(ids), flush=True)
""".replace("print(next(ids))", "print(next(ids), flush=True)")
    printed = [subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True) for _ in "12"]
    ids = [int(line) for each in printed for line in each.stdout.split()]
    assert len(ids) == 4
    assert len(set(ids)) >= 3, "of four at random, two may be alike once in ten thousand runs"


def test_transaction_ids_repeat_without_0():
    ids = MbapFraming(iter([65535, 1]))
    frames = [ids.build(1, request(0)) for _ in range(2)]
    assert [int.from_bytes(frame[:2]) for frame in frames] == [65535, 1]


def test_no_sleep_ends_early(clock, monkeypatch):
    """A timer of the event loop may fire up to a millisecond early."""
    sleep, early = asyncio.sleep, iter([0.001])
    monkeypatch.setattr(asyncio, "sleep", lambda seconds: sleep(seconds - next(early, 0.0)))
    until = time.monotonic() + 0.5
    clock.run(sleep_until(until))
    assert time.monotonic() >= until


def test_the_pause_between_requests_is_kept_also_after_a_failure_and_over_a_new_connection(clock):
    gateway = clock.gateway({1: SimulatedUnit(reset_after=3), 2: ADDRESS_AS_VALUE})

    async def read_both():
        session = session_with(gateway, request_pause_s=0.1)
        failed, read = await session.read(1, request(7)), await session.read(2, request(8))
        session.close()
        return failed, read

    failed, read = clock.run(read_both())
    assert failed.kind is FailureKind.INVALID_REPLY
    assert read.words == (8,)
    assert gateway.connections == 2
    assert gateway.received[1].at - gateway.received[0].at == pytest.approx(0.1)


@pytest.mark.parametrize("loop", [run_fast, asyncio.run])
def test_a_session_that_was_closed_opens_again_with_the_next_request(simulated_gateway, loop):
    gateway = simulated_gateway({1: ADDRESS_AS_VALUE})

    async def read_twice():
        session = session_with(gateway)
        words = []
        for address in (1, 2):
            words.append((await session.read(1, request(address))).words)
            session.close()
        return words

    assert loop(read_twice()) == [(1,), (2,)]
    assert gateway.connections == 2
