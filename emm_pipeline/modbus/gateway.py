"""Read the meters behind one gateway in turns over one session."""

from __future__ import annotations

import heapq
from itertools import count
from typing import TYPE_CHECKING

from emm_pipeline.event_loop import sleep_until
from emm_pipeline.modbus.session import Session, Timing
from emm_pipeline.modbus.transport.base import ConnectError, ReadError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from emm_pipeline.modbus.meter_poll import MeterPoll
    from emm_pipeline.modbus.transport.pacing import Pace


class GatewayPoll:
    """Reads the meters behind one gateway.

    Each meter has a turn, in the order of the unit ids. A meter with requests left gets another turn after all others,
    when it is ready.
    """

    def __init__(self, polls: Sequence[MeterPoll], finish: Callable[[MeterPoll], None], pace: Pace) -> None:
        first = polls[0]
        self.address = first.meter.address
        self._session = Session(first.meter.gateway, Timing.of(first.meter_type), pace=pace)
        self._finish = finish
        self._units = len(polls)
        self._order = count()
        self._waiting: list[tuple[float, int, MeterPoll]] = []
        for poll in sorted(polls, key=lambda poll: poll.meter.unit_id):
            self._queue(poll)

    def _queue(self, poll: MeterPoll) -> None:
        heapq.heappush(self._waiting, (poll.ready_at, next(self._order), poll))

    async def read(self) -> None:
        """Read all meters completely. If this is cancelled, call `run_out_of_time`."""
        try:
            while self._waiting:
                _, _, poll = self._waiting[0]
                await sleep_until(poll.ready_at)
                poll.begin_turn()
                await self._take_turn(poll)
                heapq.heappop(self._waiting)
                if poll.is_done:
                    self._finish(poll)
                else:
                    self._queue(poll)
        except ConnectError as err:
            self._fail_all(err)
        finally:
            self._session.close()

    async def _take_turn(self, poll: MeterPoll) -> None:
        """Send the requests of the meter's turn.

        An exception reply fails only one request. After any other failure the meter gets no further request.

        Raises:
            ConnectError: The gateway cannot be reached.
        """
        self._session.timing = Timing.of(poll.meter_type)
        while request := poll.next_request:
            try:
                data = await self._session.exchange(poll.meter.unit_id, request, poll.request_sent)
            except ReadError as err:
                if err.exception_code is not None:
                    poll.take_exception(str(err), err.exception_code)
                else:
                    poll.fail_request(err.kind, str(err))
            else:
                poll.take_registers(data)

    def _fail_all(self, err: ConnectError) -> None:
        for poll in self._take_waiting():
            poll.fail(err.kind, str(err))
            self._finish(poll)

    def run_out_of_time(self, never_began: str | None = None) -> None:
        """Fail the meters that were not read by the deadline; `never_began` is the reason if no reading began."""
        read = self._units - len(self._waiting)
        progress = never_began or f"{read} of {self._units} units behind it were read"
        for poll in self._take_waiting():
            poll.run_out_of_time(progress)
            self._finish(poll)

    def _take_waiting(self) -> list[MeterPoll]:
        waiting, self._waiting = [poll for _, _, poll in sorted(self._waiting)], []
        return waiting
