"""A session with a gateway: requests over its transport, one at a time, with pauses, retries and reopening.

Polls, discovery, `emm scan`, `emm read`, `emm meters check` and `emm watch` all use sessions.
"""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emm_pipeline.event_loop import sleep_until
from emm_pipeline.modbus.reopening import REOPEN_PAUSES_S, ReopenedTransport
from emm_pipeline.modbus.transport.base import ReadError, ResendError
from emm_pipeline.modbus.transport.pacing import Timing
from emm_pipeline.modbus.transport.requests import bits_as_words
from emm_pipeline.readings import FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from emm_pipeline.fleet import GatewayAddress
    from emm_pipeline.modbus.transport.base import Exchange
    from emm_pipeline.modbus.transport.lateness import LateReplies
    from emm_pipeline.modbus.transport.pacing import Pace
    from emm_pipeline.readings import Request

__all__ = ["Reply", "Session", "Timing"]


@dataclass(frozen=True, slots=True)
class Reply:
    """The result of a request: the registers (0 to 65535 each), or the failure; it took `seconds`.

    `advice` says what to do, if more is known about the cause than its `kind`. `notices` say what was unusual.
    """

    seconds: float
    words: tuple[int, ...] = ()
    kind: FailureKind | None = None
    reason: str = ""
    exception_code: int | None = None
    advice: str | None = None
    notices: tuple[str, ...] = ()


class Session(ReopenedTransport):
    """Opens the transport when it is needed, and reopens it after any failure except an exception reply.

    Therefore a late reply cannot be mistaken for the next one or for another unit's.
    """

    def __init__(
        self,
        gateway: GatewayAddress,
        timing: Timing,
        *,
        pace: Pace | None = None,
        reopen_pauses_s: Sequence[float] = REOPEN_PAUSES_S,
    ) -> None:
        super().__init__(gateway, timing, pace, reopen_pauses_s)
        self.has_replied = False
        """Whether a reply came to any request, an exception too."""
        self._was_idle = False
        """Whether the transport was kept open since the reading before, and no request sent since."""

    def may_confuse(self, unit_id: int, request: Request) -> bool:
        """Whether the reply to a request may be mistaken for a late one, so that the request must be repeated."""
        return self._transport.may_confuse(unit_id, request)

    def start(self, unit_id: int, request: Request, on_send: Callable[[], None]) -> Exchange | None:
        """Send a request without waiting, if the connection is open and no late reply can be mistaken for its reply.

        When the exchange is done, `take` must be called, and, if that returns None, `exchange` with it.

        Returns:
            The exchange that was started; None if nothing was sent.
        """
        if self.timing.request_pause_s:
            return None
        timeout_s = self.timing.timeout_s
        resend_after_s = self._when_to_resend(timeout_s) if self._is_fresh else None
        return self._transport.start(unit_id, request, timeout_s, on_send, resend_after_s=resend_after_s)

    def take(self, request: Request, started: Exchange) -> bytes | None:
        """Return the words that the reply to a request has brought; None if it brought none."""
        data = self._transport.take(started)
        if data is None:
            return None
        is_first, self._is_fresh = self._is_fresh, False
        self._was_idle = False
        self._last_exchange_s = time.monotonic()
        self._note_reply(is_first=is_first)
        return bits_as_words(data, request.count) if request.function_code.reads_bits else data

    async def exchange(
        self,
        unit_id: int,
        request: Request,
        on_send: Callable[[], None],
        *,
        resend_after_s: float | None = None,
        started: Exchange | None = None,
    ) -> bytes:
        """Send a request and wait for its reply, at least the pause after the exchange before.

        If the gateway closes the connection instead of replying, the request is sent a second time over a new
        connection: many gateways close connections after each reply or when idle, possibly just when the request is
        sent. So is the first request over a kept connection if it gets no reply, because a firewall may have forgotten
        the connection.

        Args:
            unit_id: The unit id.
            request: The registers to read.
            on_send: Called each time that the request is sent.
            resend_after_s: If given, the first request of a connection is sent again if no reply comes in this time.
                A gateway that is known to lose such requests gets it again in any case.
            started: If given, `start` has sent the request already.

        Returns:
            The words of a `RegisterBlock`: the registers as received, and a word for each bit.

        Raises:
            ConnectError: The gateway cannot be reached.
            ReadError: The request failed.
        """
        was_idle, self._was_idle = self._was_idle, False
        try:
            return await self._exchange(unit_id, request, on_send, resend_after_s, started)
        except ReadError as err:
            is_lost = err.kind is FailureKind.CLOSED or (was_idle and err.kind is FailureKind.TIMEOUT)
            if not is_lost and not isinstance(err, ResendError):
                raise
        return await self._exchange(unit_id, request, on_send, resend_after_s)

    async def _exchange(
        self,
        unit_id: int,
        request: Request,
        on_send: Callable[[], None],
        resend_after_s: float | None,
        started: Exchange | None = None,
    ) -> bytes:
        if started is None:
            if self.timing.request_pause_s:
                await sleep_until(self._last_exchange_s + self.timing.request_pause_s)
            if not self._transport.is_open:
                await self.open()
        is_first, self._is_fresh = self._is_fresh, False
        resend_after_s = self._when_to_resend(resend_after_s) if is_first else None
        try:
            if started is not None:
                data = await self._transport.finish(started)
            else:
                data = await self._transport.exchange(
                    unit_id, request, self.timing.timeout_s, on_send, resend_after_s=resend_after_s
                )
        except ReadError as err:
            if err.kind is FailureKind.EXCEPTION:
                self._note_reply(is_first=is_first)
            elif err.kind is not FailureKind.TIMEOUT or not self._transport.late.listens:
                self.close()
            raise
        else:
            self._note_reply(is_first=is_first)
            return bits_as_words(data, request.count) if request.function_code.reads_bits else data
        finally:
            self._last_exchange_s = time.monotonic()

    def _when_to_resend(self, wanted_s: float | None) -> float | None:
        """Return the seconds after which the first request of a connection is sent again; None: it is not."""
        if self.loses_first_requests:
            return wanted_s or self.timing.timeout_s
        return None if self.loses_first_requests is False else wanted_s

    def _note_reply(self, *, is_first: bool) -> None:
        self.has_replied = True
        if is_first:
            self._memory.loses_first_requests = self._transport.was_resent

    @property
    def late(self) -> LateReplies:
        """The replies after their timeouts. While it `listens`, timeouts leave the connection open."""
        return self._transport.late

    def take_notices(self) -> tuple[str, ...]:
        """Return what was unusual about the replies since the last call, a line each."""
        if not self._transport.notices:
            return ()
        notices, self._transport.notices = self._transport.notices, []
        return tuple(notices)

    async def read(self, unit_id: int, request: Request, *, resend_after_s: float | None = None) -> Reply:
        """Send a request and return its result, including failures, for the commands that a person uses.

        The session's first request is sent again if no reply comes to it; with `resend_after_s`, that of each
        connection is, after this time.

        Raises:
            ConnectError: The gateway cannot be reached.
        """
        sent_s = 0.0

        def on_send() -> None:
            nonlocal sent_s
            sent_s = time.monotonic()

        if resend_after_s is None and not self.was_open:
            resend_after_s = self.timing.timeout_s
        try:
            data = await self.exchange(unit_id, request, on_send, resend_after_s=resend_after_s)
        except ReadError as err:
            took_s = time.monotonic() - sent_s
            return Reply(took_s, (), err.kind, str(err), err.exception_code, err.advice, self.take_notices())
        words = struct.unpack(f">{request.words}H", data)
        return Reply(time.monotonic() - sent_s, words, notices=self.take_notices())

    @property
    def can_be_kept(self) -> bool:
        """Whether the connection may stay open until the next reading."""
        return self._transport.can_be_kept

    @property
    def has_ids(self) -> bool:
        """Whether a reply shows to which request it belongs."""
        return self._transport.has_ids

    def begin_reading(self, timing: Timing, pace: Pace | None) -> None:
        """Begin another reading with a session that was kept."""
        self.timing, self._pace = timing, pace
        self.has_replied = False
        self._was_idle = self._transport.is_open
