"""Reads a fleet once: the units behind one gateway in turn, gateways side by side, until the sample's deadline."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from typing import TYPE_CHECKING

from emm_pipeline.fleet import EnergyMeter, MeterType
from emm_pipeline.modbus.connection import Connection, ReadError
from emm_pipeline.modbus.meter_poll import MeterPoll
from emm_pipeline.modbus.planning import Request, plan_requests
from emm_pipeline.readings import FailureKind, MeterSample

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_REOPEN_PAUSE_S = 0.5
"""Before the second attempt to open a connection anew: a gateway may need a moment to free the old one."""

_UNIT_IS_SILENT = 11
"""The exception code with which a gateway reports that it waited in vain for the unit."""


async def read_meters(
    meters: Sequence[EnergyMeter],
    types: Mapping[str, MeterType],
    *,
    deadline: float,
    max_connections: int = 200,
    on_sample: Callable[[MeterSample], None] | None = None,
) -> list[MeterSample]:
    """Reads every meter once.

    A meter that cannot be read has a failure in its sample; nothing is raised for its sake.

    Args:
        meters: The meters; those of one `host:port` share a connection and are read in turn, by unit id.
        types: The meters' types by name.
        deadline: When to end at the latest, on the clock of `time.monotonic`.
        max_connections: How many connections are open at the same time at most.
        on_sample: Called with each sample as soon as its meter is done.

    Returns:
        One sample per meter, in the order of `meters`.
    """
    samples: dict[MeterPoll, MeterSample] = {}

    def finish(poll: MeterPoll) -> None:
        samples[poll] = poll.sample()
        if on_sample:
            on_sample(samples[poll])

    polls = _plan(meters, types)
    gateways: dict[tuple[str, int], list[MeterPoll]] = defaultdict(list)
    for poll in polls:
        if poll.failure:
            finish(poll)
        else:
            gateways[poll.meter.host, poll.meter.port].append(poll)

    slots = asyncio.Semaphore(max_connections)
    loop_deadline = asyncio.get_running_loop().time() + deadline - time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        # The longest first: what starts last should not be what takes longest.
        for behind_gateway in sorted(gateways.values(), key=lambda polls: -sum(len(p.requests) for p in polls)):
            tasks.create_task(_Gateway(behind_gateway, finish).read(slots, loop_deadline))
    return [samples[poll] for poll in polls]


def _plan(meters: Sequence[EnergyMeter], types: Mapping[str, MeterType]) -> list[MeterPoll]:
    """Returns a poll per meter; one that cannot be planned has failed with CONFIGURATION."""
    plans: dict[str, tuple[Request, ...]] = {}
    problems: dict[str, str] = {}
    for name in {meter.type for meter in meters}:
        try:
            plans[name] = plan_requests(types[name])
        except KeyError:
            problems[name] = f"type {name} is not configured"
        except ValueError as err:
            problems[name] = str(err)
        else:
            if not plans[name]:
                problems[name] = f"type {name} has no registers"

    polls = []
    for meter in meters:
        poll = MeterPoll(meter, types.get(meter.type, MeterType(meter.type)), plans.get(meter.type, ()))
        if meter.type in problems:
            poll.fail(FailureKind.CONFIGURATION, problems[meter.type])
        polls.append(poll)
    return polls


class _Gateway:
    """The meters behind one `host:port`, and the connection over which they are read in turn."""

    def __init__(self, polls: Sequence[MeterPoll], finish: Callable[[MeterPoll], None]) -> None:
        self._polls = sorted(polls, key=lambda poll: poll.meter.unit_id)
        self._finish = finish
        self._finished = 0
        self._slot_taken = False
        self._connection: Connection | None = None
        self._connected_before = False
        self._last_exchange_s = float("-inf")

    async def read(self, slots: asyncio.Semaphore, loop_deadline: float) -> None:
        """Reads all units; those that are not read by the deadline fail with DEADLINE."""
        try:
            async with asyncio.timeout_at(loop_deadline), slots:
                self._slot_taken = True
                await self._read_units()
        except TimeoutError:
            self._fail_unfinished()
        finally:
            self._close()

    async def _read_units(self) -> None:
        for position, poll in enumerate(self._polls):
            poll.begin()
            try:
                await self._read_unit(poll)
            except ReadError as err:
                for unread in self._polls[position:]:
                    unread.fail(err.kind, str(err))
                    self._finish_next()
                return
            self._finish_next()

    async def _read_unit(self, poll: MeterPoll) -> None:
        """Sends the unit's requests in turn.

        An exception reply fails one request only. After any other failure nothing more is asked of the unit, and the
        connection is given up, so that a late reply cannot answer the next question.

        Raises:
            ReadError: There is no connection.
        """
        for request in poll.requests:
            pause_s = self._last_exchange_s + poll.meter_type.request_pause_s - time.monotonic()
            if pause_s > 0:
                await asyncio.sleep(pause_s)
            connection = await self._usable_connection(poll.meter_type.timeout_s)
            try:
                await self._exchange(connection, poll, request)
            except ReadError as err:
                poll.fail_request(request, err.kind, str(err), err.exception_code)
                if err.kind is not FailureKind.EXCEPTION:
                    self._close()
                    return
                if err.exception_code == _UNIT_IS_SILENT:
                    return

    async def _exchange(self, connection: Connection, poll: MeterPoll, request: Request) -> None:
        poll.request_sent()
        try:
            data = await connection.read(poll.meter.unit_id, request, poll.meter_type.timeout_s)
        finally:
            self._last_exchange_s = time.monotonic()
        poll.keep(request, data)

    async def _usable_connection(self, timeout_s: float) -> Connection:
        """Returns the connection, opened anew if it was closed, by us or by the gateway; that is tried twice.

        Raises:
            ReadError: REFUSED.
        """
        if self._connection and self._connection.usable:
            return self._connection
        self._close()
        if not self._connected_before:
            return await self._open(timeout_s)
        try:
            return await self._open(timeout_s)
        except ReadError:
            await asyncio.sleep(_REOPEN_PAUSE_S)
            return await self._open(timeout_s)

    async def _open(self, timeout_s: float) -> Connection:
        meter = self._polls[0].meter
        self._connection = Connection(meter.host, meter.port)
        await self._connection.open(timeout_s)
        self._connected_before = True
        return self._connection

    def _close(self) -> None:
        if self._connection:
            self._connection.close()
            self._connection = None

    def _finish_next(self) -> None:
        self._finish(self._polls[self._finished])
        self._finished += 1

    def _fail_unfinished(self) -> None:
        read = self._finished
        if self._slot_taken:
            progress = f"{read} of {len(self._polls)} units behind it were read"
        else:
            progress = "all allowed connections were in use"
        for poll in self._polls[self._finished :]:
            what = "not read to its end by" if poll.sent else "not reached before"
            poll.fail(FailureKind.DEADLINE, f"{what} the sample's deadline ({progress})")
            self._finish_next()
