"""Read the only meter behind an open connection without a task, as long as every request brings registers.

This is the usual case, in which a task and its coroutines take as long as all other work for a meter. Anything unusual
is left to `GatewayPoll`, which continues with the exchange that has failed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emm_pipeline.modbus.kept_sessions import KeptSession
    from emm_pipeline.modbus.meter_poll import MeterPoll
    from emm_pipeline.modbus.transport.base import Exchange
    from emm_pipeline.readings import Request


class QuickReading:
    """The reading of one meter over an open session. This class waits for nothing itself."""

    __slots__ = ("_request", "kept", "poll", "started")

    def __init__(self, poll: MeterPoll, kept: KeptSession) -> None:
        """The meter's turn has begun."""
        self.poll, self.kept = poll, kept
        self.started: Exchange | None = None
        """The exchange that is under way, or has failed."""
        self._request: Request | None = None

    def send(self) -> Exchange | None:
        """Send the next request, and return its exchange; None if none is left, or if it must be sent otherwise."""
        poll = self.poll
        self._request = request = poll.next_request
        if request:
            self.started = self.kept.session.start(poll.meter.unit_id, request, poll.request_sent)
        return self.started

    @property
    def is_complete(self) -> bool:
        """Whether no request is left."""
        return self._request is None and self.poll.is_done

    def take(self) -> bool:
        """Take the registers that the exchange has brought; return false if it has brought none."""
        session = self.kept.session
        if not self.started or not self._request or (data := session.take(self._request, self.started)) is None:
            return False
        self.started = None
        self.poll.take_registers(data)
        if notices := session.take_notices():
            self.poll.notices += notices
        return True
