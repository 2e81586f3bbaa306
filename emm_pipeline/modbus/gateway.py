"""The units behind one `host:port`, read in turns over one connection."""

from __future__ import annotations

import asyncio
import heapq
import time
from itertools import count
from typing import TYPE_CHECKING

from emm_pipeline.modbus.transport.tcp import ReadError, TcpTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from emm_pipeline.modbus.meter_poll import MeterPoll
    from emm_pipeline.modbus.pacing import Pace

_REOPEN_PAUSE_S = 0.5
"""Before the second attempt to open a connection anew: a gateway may need a moment to free the old one."""


class Gateway:
    """The meters behind one `host:port`, and the connection over which they are read.

    Each unit has a turn, in the order of the unit ids; those that have something left to ask get another one behind
    all others, once they are ready for it.
    """

    def __init__(self, polls: Sequence[MeterPoll], finish: Callable[[MeterPoll], None], pace: Pace) -> None:
        meter = polls[0].meter
        self.address = meter.address
        self._host, self._port = meter.host, meter.port
        self._finish = finish
        self._pace = pace
        self._units = len(polls)
        self._order = count()
        self._waiting: list[tuple[float, int, MeterPoll]] = []
        for poll in sorted(polls, key=lambda poll: poll.meter.unit_id):
            self._queue(poll)
        self._connection: TcpTransport | None = None
        self._connected_before = False
        self._last_exchange_s = float("-inf")

    def _queue(self, poll: MeterPoll) -> None:
        heapq.heappush(self._waiting, (poll.ready_at, next(self._order), poll))

    async def read(self) -> None:
        """Reads all units to their end. When it is cancelled, `run_out_of_time` is to be called."""
        try:
            while self._waiting:
                _, _, poll = self._waiting[0]
                await _sleep_until(poll.ready_at)
                poll.begin_turn()
                try:
                    await self._take_turn(poll)
                except ReadError as err:
                    self._fail_all(err)
                    return
                heapq.heappop(self._waiting)
                if poll.is_done:
                    self._finish(poll)
                else:
                    self._queue(poll)
        finally:
            self._close()

    async def _take_turn(self, poll: MeterPoll) -> None:
        """Sends the requests of the unit's turn.

        An exception reply fails one request only. After any other failure nothing more is asked of the unit, and the
        connection is given up, so that a late reply cannot answer the next question.

        Raises:
            ReadError: There is no connection.
        """
        timeout_s = poll.meter_type.timeout_s
        while request := poll.next_request:
            await _sleep_until(self._last_exchange_s + poll.meter_type.request_pause_s)
            connection = await self._usable_connection(timeout_s)
            poll.request_sent()
            try:
                data = await connection.read(poll.meter.unit_id, request, timeout_s)
            except ReadError as err:
                if err.exception_code is not None:
                    poll.take_exception(str(err), err.exception_code)
                else:
                    poll.fail_request(err.kind, str(err))
                    self._close()
            else:
                poll.keep(data)
            finally:
                self._last_exchange_s = time.monotonic()

    async def _usable_connection(self, timeout_s: float) -> TcpTransport:
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

    async def _open(self, timeout_s: float) -> TcpTransport:
        await self._pace.wait()
        self._connection = TcpTransport(self._host, self._port)
        await self._connection.open(timeout_s)
        self._connected_before = True
        return self._connection

    def _close(self) -> None:
        if self._connection:
            self._connection.close()
            self._connection = None

    def _fail_all(self, err: ReadError) -> None:
        for poll in self._take_waiting():
            poll.fail(err.kind, str(err))
            self._finish(poll)

    def run_out_of_time(self, hindrance: str | None = None) -> None:
        """Fails what was not read by the sample's deadline; `hindrance` is what kept reading from beginning."""
        read = self._units - len(self._waiting)
        progress = hindrance or f"{read} of {self._units} units behind it were read"
        for poll in self._take_waiting():
            poll.run_out_of_time(progress)
            self._finish(poll)

    def _take_waiting(self) -> list[MeterPoll]:
        waiting, self._waiting = [poll for _, _, poll in sorted(self._waiting)], []
        return waiting


async def _sleep_until(monotonic_s: float) -> None:
    pause_s = monotonic_s - time.monotonic()
    if pause_s > 0:
        await asyncio.sleep(pause_s)
