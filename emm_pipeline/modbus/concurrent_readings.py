"""Read gateways concurrently until a deadline."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from emm_pipeline.modbus.gateway import GatewayPoll
from emm_pipeline.modbus.kept_sessions import may_stay_open
from emm_pipeline.modbus.quick_reading import QuickReading
from emm_pipeline.modbus.transport.pacing import Timing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from emm_pipeline.fleet import GatewayAddress
    from emm_pipeline.modbus.gateway_reader import GatewayReader
    from emm_pipeline.modbus.kept_sessions import KeptSession
    from emm_pipeline.modbus.meter_poll import MeterPoll
    from emm_pipeline.modbus.session import Session
    from emm_pipeline.modbus.transport.base import Exchange
    from emm_pipeline.modbus.transport.pacing import Pace

Gateways: TypeAlias = "Sequence[tuple[GatewayAddress, Sequence[MeterPoll]]]"
"""The polls of the meters behind each gateway."""

_BEGUN_AT_ONCE = 50
"""Number of readings that are begun before requests are sent and replies received."""


class ConcurrentReadings:
    """The gateways that are being read: with a task each, or as a `QuickReading`."""

    def __init__(self, reader: GatewayReader, finish: Callable[[MeterPoll], None], pace: Pace) -> None:
        self._reader, self._finish, self._pace = reader, finish, pace
        self._quick: set[QuickReading] = set()
        self._leaving: set[QuickReading] = set()
        """Those whose tasks have not started yet."""
        self._tasks: dict[asyncio.Task[None], GatewayPoll] = {}
        self._left = 0
        """Number of gateways under way."""
        self._end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when no gateway is left, at the deadline, or at the first error."""

    async def read(self, gateways: Gateways, deadline: float) -> None:
        """Read the meters behind each gateway; those that are not finished by the deadline fail.

        One timer for all of them: `asyncio.timeout` would take 6 µs for each gateway.
        """
        self._left = len(gateways)
        seconds = deadline - time.monotonic()
        if not gateways or seconds <= 0:
            for address, polls in gateways:
                GatewayPoll(address, polls, self._finish, self._pace).run_out_of_time()
            return
        timer = asyncio.get_running_loop().call_later(seconds, self._stop_waiting)
        try:
            await self._begin(gateways)
            await self._end
        finally:
            timer.cancel()
            stopped = await self._stop()
        for task, gateway in self._tasks.items():
            if task.cancelled():
                stopped.append(gateway)
            else:
                task.result()
        for gateway in stopped:
            gateway.run_out_of_time()

    async def _begin(self, gateways: Gateways) -> None:
        for number, (address, polls) in enumerate(gateways, 1):
            if len(polls) == 1 and (kept := self._reader.take_at_once(address)):
                kept.session.begin_reading(Timing.of(polls[0].meter_type), self._pace)
                polls[0].begin_turn()
                self._read_quickly(polls[0], kept)
                if not number % _BEGUN_AT_ONCE:
                    await asyncio.sleep(0)
            else:
                gateway = GatewayPoll(address, polls, self._finish, self._pace)
                self._add_task(asyncio.create_task(self._read(gateway, polls[0])), gateway)

    async def _read(self, gateway: GatewayPoll, first: MeterPoll) -> None:
        if opened := await self._reader.read(gateway):
            self._left += 1  # the task ends before the reading
            self._read_quickly(first, opened)

    def _read_quickly(self, poll: MeterPoll, kept: KeptSession) -> None:
        """Read a meter whose turn has begun."""
        quick = QuickReading(poll, kept)
        self._quick.add(quick)
        self._go_on(quick)

    def _go_on(self, quick: QuickReading) -> None:
        """Send the next request; at the end of the reading keep its session, if it may stay open."""
        if started := quick.send():
            started.add_done_callback(partial(self._take, quick))
        elif quick.is_complete:
            self._finish(quick.poll)
            self._quick.discard(quick)
            self._end_session(quick)
            self._count_down()
        else:
            self._leave_to_task(quick)

    def _take(self, quick: QuickReading, _: Exchange) -> None:
        """Take the registers of a reply, and send the next request."""
        if quick not in self._quick or self._end.done():
            return
        try:
            if quick.take():
                self._go_on(quick)
            else:
                self._leave_to_task(quick)
        except Exception as err:  # noqa: BLE001 - raised where the readings are awaited
            self._fail(err)

    def _end_session(self, quick: QuickReading) -> None:
        session, keeps = quick.kept.session, self._reader.keeps
        stays = keeps is not None and may_stay_open(session, (quick.poll.meter_type.keep_connection,), by_default=keeps)
        self._put_back(quick, session if stays else None)

    def _put_back(self, quick: QuickReading, still_open: Session | None) -> None:
        if still_open is None:
            quick.kept.session.close()
        self._reader.end(still_open, quick.kept.names)

    def _leave_to_task(self, quick: QuickReading) -> None:
        self._quick.discard(quick)
        self._leaving.add(quick)
        gateway = self._gateway_of(quick)
        self._add_task(asyncio.create_task(self._read_rest(gateway, quick)), gateway)

    async def _read_rest(self, gateway: GatewayPoll, quick: QuickReading) -> None:
        self._leaving.discard(quick)  # from here on, the task closes the session
        await self._reader.go_on(gateway, quick)

    def _add_task(self, task: asyncio.Task[None], gateway: GatewayPoll) -> None:
        self._tasks[task] = gateway
        task.add_done_callback(self._end_task)

    def _end_task(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            if err := task.exception():
                self._fail(err)
            else:
                del self._tasks[task]
        self._count_down()

    def _count_down(self) -> None:
        self._left -= 1
        if not self._left:
            self._stop_waiting()

    def _stop_waiting(self) -> None:
        if not self._end.done():
            self._end.set_result(None)

    def _fail(self, err: BaseException) -> None:
        if not self._end.done():
            self._end.set_exception(err)

    async def _stop(self) -> list[GatewayPoll]:
        """Stop all readings under way, and close their sessions; return the gateways that have no task."""
        self._stop_waiting()
        late = [task for task in self._tasks if not task.done()]
        for task in late:
            task.cancel()
        for quick in (*self._quick, *self._leaving):  # before the wait, which may be cancelled, too
            self._put_back(quick, None)
        await asyncio.gather(*late, return_exceptions=True)
        return [self._gateway_of(quick) for quick in self._quick]

    def _gateway_of(self, quick: QuickReading) -> GatewayPoll:
        return GatewayPoll(quick.kept.session.gateway, [quick.poll], self._finish, self._pace)
