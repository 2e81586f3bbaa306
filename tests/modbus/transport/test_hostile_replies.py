"""Malicious and broken replies over real sockets cause no crash, no stall, no wrong value and no memory growth."""

import asyncio
import tracemalloc

import pytest
from hypothesis import given, seed, settings
from soak.table import SoakRow, publish
from support.clock import ClockLoop
from support.hostile import HostileDevice, hostile_replies

from emm_pipeline.event_loop import run_fast
from emm_pipeline.fleet import FunctionCode, GatewayAddress
from emm_pipeline.modbus.transport.base import ReadError
from emm_pipeline.modbus.transport.choosing import transport_to
from emm_pipeline.readings import Request

REQUEST = Request(FunctionCode.READ_HOLDING_REGISTERS, 0, 2)
MEBIBYTE = 1024 * 1024


@pytest.fixture(scope="module")
def judge():
    """Run and check a case with a simulated clock, so that a busy machine causes no timeout."""
    clock, device = ClockLoop(), HostileDevice()
    clock.run(device.start())
    yield lambda case: clock.run(device.judge(case))
    clock.run(device.stop())
    clock.close()


def test_no_reply_of_two_thousand_hostile_ones_crashes_stalls_or_gives_a_wrong_value(judge):
    taken = run(judge, cases=2000)
    assert 0 < taken < 2000, "right replies are among them, and wrong ones"


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_no_reply_of_a_hundred_thousand_hostile_ones_gives_a_wrong_value(judge):
    taken = sum(run(judge, cases=2000, first=number) for number in range(1, 51))
    publish(SoakRow("hostile and broken replies", 100_000, taken, taken, lost=0, invented=0, duplicated=0))


def run(judge, cases, first=0):
    taken = 0

    @seed(first)
    @settings(deadline=None, max_examples=cases, database=None)
    @given(case=hostile_replies)
    def judge_one(case):
        nonlocal taken
        taken += judge(case)

    judge_one()
    return taken


@pytest.mark.parametrize("asked_for", [True, False])
def test_a_device_that_sends_without_end_is_cut_off_and_fills_no_memory(asked_for):
    """The bytes are sent instead of a reply, and in the pause between two requests."""

    async def flood(_, writer):
        try:
            for _ in range(64):
                writer.write(bytes(MEBIBYTE))
                await writer.drain()
        except ConnectionError:
            cut_off.set()
        finally:
            writer.close()

    async def suffer():
        async with await asyncio.start_server(flood, "127.0.0.1", 0) as server:
            connection = transport_to(GatewayAddress("127.0.0.1", server.sockets[0].getsockname()[1]))
            await connection.open(60.0)
            if asked_for:
                with pytest.raises(ReadError):
                    await connection.exchange(1, REQUEST, 60.0)
            await asyncio.wait_for(cut_off.wait(), 60)
            assert not connection.is_open

    cut_off = asyncio.Event()
    tracemalloc.start()
    try:
        run_fast(suffer())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * MEBIBYTE
