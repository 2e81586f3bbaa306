"""Read the meters behind one gateway in turns over one session."""

from __future__ import annotations

import heapq
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING

from emm_pipeline.event_loop import sleep_until
from emm_pipeline.modbus import virtual_servers
from emm_pipeline.modbus.kept_sessions import may_stay_open
from emm_pipeline.modbus.session import Session, Timing
from emm_pipeline.modbus.transport.base import ConnectError, ReadError
from emm_pipeline.readings import FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from emm_pipeline.modbus.meter_poll import MeterPoll
    from emm_pipeline.modbus.transport.base import Exchange
    from emm_pipeline.modbus.transport.pacing import Pace


class GatewayPoll:
    """Read the meters behind one gateway.

    Each meter has a turn, in the order of the unit ids. A meter with requests left gets another turn after all others,
    when it is ready.
    """

    def __init__(self, polls: Sequence[MeterPoll], finish: Callable[[MeterPoll], None], pace: Pace) -> None:
        first = polls[0]
        self.address = first.meter.gateway
        self.timeout_s = first.meter_type.timeout_s
        self.waits_because: str | None = None
        """Why no reading has begun yet."""
        self._timing, self._pace = Timing.of(first.meter_type), pace
        self._session: Session
        self._finish = finish
        self._units = len(polls)
        self.has_one_meter = self._units == 1
        self._keep_connection = {poll.meter_type.keep_connection for poll in polls}
        self._order = count()
        self._postponed: dict[int, ReadError] = {}
        """By unit id why a connection's first request got no reply, where no other reply had come before."""
        self._loses_no_requests = False
        """Whether a postponed meter got no reply to a second request either."""
        self._is_virtual: bool | None = None
        """Whether a virtual server answers here; None if it was not asked."""
        self._started: Exchange | None = None
        """The exchange under way, if the reading was begun by a `QuickReading`."""
        self._is_in_turn = False
        """Whether the first meter's turn was begun by it."""
        self._waiting: list[tuple[float, int, MeterPoll]] = []
        # Units that keep failing come last: by then it is known whether the gateway replies at all.
        in_order = sorted(polls, key=lambda poll: (poll.keeps_failing, poll.meter.unit_id)) if polls[1:] else polls
        for poll in in_order:
            self._queue(poll)

    def _queue(self, poll: MeterPoll) -> None:
        heapq.heappush(self._waiting, (poll.ready_at, next(self._order), poll))

    async def read(self, kept: Session | None = None, *, keeps: bool | None = None) -> Session | None:
        """Read all meters completely. If this is cancelled because of the deadline, call `run_out_of_time`.

        Args:
            kept: The session with the gateway that was kept after the reading before.
            keeps: Whether the session is kept after this reading unless the type forbids it; None if it cannot be.

        Returns:
            The session, if it is to be kept; otherwise it is closed.
        """
        if kept:
            kept.begin_reading(self._timing, self._pace)
        return await self._read(kept or Session(self.address, self._timing, pace=self._pace), keeps)

    async def open(self) -> Session | None:
        """Begin the turn of the only meter, and open a session over which a `QuickReading` can read it.

        Returns:
            The session; None if the gateway cannot be reached, so that the meter has failed.
        """
        _, _, poll = self._waiting[0]
        poll.begin_turn()
        session = Session(self.address, self._timing, pace=self._pace)
        is_open = False
        try:
            await session.open()
            is_open = True
        except ConnectError as err:
            self._fail_all(err)
            return None
        finally:
            if not is_open:
                session.close()
        return session

    async def go_on(self, session: Session, started: Exchange | None, *, keeps: bool | None) -> Session | None:
        """Read all meters as `read` does, after the first meter's turn was begun.

        Args:
            session: The session with the gateway.
            started: The exchange of the next request, if it was sent already.
            keeps: See `read`.
        """
        self._started, self._is_in_turn = started, True
        return await self._read(session, keeps)

    async def _read(self, session: Session, keeps: bool | None) -> Session | None:
        self._session = session
        stays_open = False
        try:
            while self._waiting:
                _, _, poll = self._waiting[0]
                if await self._begin_turn(poll):
                    await self._take_turn(poll)
                if poll.is_done and poll.device_failed:
                    await self._ask_virtual_server(poll)
                heapq.heappop(self._waiting)
                if poll.is_done:
                    self._finish(poll)
                else:
                    self._queue(poll)
            stays_open = keeps is not None and may_stay_open(session, self._keep_connection, by_default=keeps)
        except ConnectError as err:
            self._fail_all(err)
        finally:
            if not stays_open:
                self._session.close()
        return self._session if stays_open else None

    async def _begin_turn(self, poll: MeterPoll) -> bool:
        """Begin a meter's turn when it is ready; return whether it has requests to send."""
        if self._is_in_turn:
            self._is_in_turn = False
            return True
        if poll.ready_at:
            await sleep_until(poll.ready_at)
        poll.begin_turn()
        return not self._is_over(poll)

    async def _take_turn(self, poll: MeterPoll) -> None:
        """Send the requests of the meter's turn.

        An exception reply fails one request only. After any other failure, the meter's poll decides what to do.

        Raises:
            ConnectError: The gateway cannot be reached.
        """
        if self._units > 1:
            self._session.timing = Timing.of(poll.meter_type)
        unit_id = poll.meter.unit_id
        while request := poll.next_request:
            if self._session.may_confuse(unit_id, request) and poll.split_request():
                continue
            may_be_lost = self._may_lose_request()
            was_postponed = unit_id in self._postponed
            resend = may_be_lost and (len(self._waiting) == 1 or was_postponed)
            resend_after_s = self._session.timing.timeout_s if resend else None
            try:
                started, self._started = self._started, None
                data = await self._session.exchange(
                    *(unit_id, request, poll.request_sent), resend_after_s=resend_after_s, started=started
                )
            except ReadError as err:
                if err.exception_code is not None:
                    poll.take_exception(str(err), err.exception_code)
                elif err.kind is FailureKind.TIMEOUT and may_be_lost and not resend:
                    self._postponed[unit_id] = err
                    poll.postpone(err.kind, str(err))
                else:
                    self._loses_no_requests = self._loses_no_requests or was_postponed
                    poll.fail_request(err.kind, str(err))
            else:
                poll.take_registers(data)
            if notices := self._session.take_notices():
                poll.notices += notices

    async def _ask_virtual_server(self, poll: MeterPoll) -> None:
        """Add to the failure what a virtual server says about it. It serves all units at its address."""
        if self._is_virtual is False:
            return
        self._is_virtual = False
        timing = self._session.timing
        self._session.timing = timing._replace(timeout_s=min(timing.timeout_s, virtual_servers.MOST_S))
        with suppress(ConnectError, ReadError):
            data = await self._session.exchange(poll.meter.unit_id, virtual_servers.STATUS, lambda: None)
            poll.explanation = virtual_servers.explanation(data, self.address)
            self._is_virtual = poll.explanation is not None

    def _may_lose_request(self) -> bool:
        """Whether the gateway may lose the next request because it is the first one of a connection."""
        session = self._session
        is_known_not_to = session.has_replied or session.loses_first_requests is False
        return session.sends_first_request and not is_known_not_to

    def _is_over(self, poll: MeterPoll) -> bool:
        """Whether a postponed meter needs no second request.

        Some gateways lose the first request of each connection. So that a unit that does not answer delays the
        others by one timeout only, it gets a second one only if none of them has replied either; and if that gets no
        reply either, no other request follows.
        """
        err = self._postponed.get(poll.meter.unit_id)
        replies = self._session.has_replied or self._loses_no_requests
        if err is None or not replies or self._session.loses_first_requests:
            return False
        poll.fail_request(err.kind, str(err))
        return True

    def _fail_all(self, err: ConnectError) -> None:
        for poll in self._take_waiting():
            poll.fail(err.kind, str(err))
            self._finish(poll)

    def run_out_of_time(self) -> None:
        """Fail the meters that were not read by the deadline."""
        read = self._units - len(self._waiting)
        progress = self.waits_because or f"{read} of {self._units} units behind it were read"
        for poll in self._take_waiting():
            poll.run_out_of_time(progress)
            self._finish(poll)

    def _take_waiting(self) -> list[MeterPoll]:
        waiting, self._waiting = [poll for _, _, poll in sorted(self._waiting)], []
        return waiting
