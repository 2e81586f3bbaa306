"""One exchange at a time over a link that carries bytes: the common part of all transports."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from emm_pipeline.modbus.exception_codes import describe
from emm_pipeline.modbus.transport.base import ExceptionReplyError, FramedReply, ReadError, ResendError
from emm_pipeline.modbus.transport.memory import Look
from emm_pipeline.modbus.transport.receiving import DOUBT_S, ReplyReceiver
from emm_pipeline.modbus.transport.verifying import Verification
from emm_pipeline.readings import FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from emm_pipeline.modbus.transport.base import Exchange
    from emm_pipeline.readings import Request


class StreamTransport(ReplyReceiver, ABC):
    """A `Transport` over a link that carries bytes. Subclasses open it, with a `Connection` as asyncio's protocol."""

    @abstractmethod
    async def open(self, timeout_s: float) -> None:
        """Open the link, with a `Connection` as its protocol."""

    async def exchange(
        self,
        unit_id: int,
        request: Request,
        timeout_s: float,
        on_send: Callable[[], None] = lambda: None,
        *,
        resend_after_s: float | None = None,
    ) -> bytes:
        """Send a request and wait for its reply; see `Transport.exchange`."""
        self._prepare(unit_id, request)
        if self._is_certain:
            self._require_link()
            self._on_sent = on_send
            return _data(await self._reply_of(self._start(timeout_s, resend_after_s)))
        return _data(await self._receive_verified(look_of(unit_id, request), timeout_s, on_send, resend_after_s))

    def start(
        self,
        unit_id: int,
        request: Request,
        timeout_s: float,
        on_send: Callable[[], None],
        *,
        resend_after_s: float | None = None,
    ) -> Exchange | None:
        """Send a request if no late reply can be mistaken for its reply; see `Transport.start`."""
        is_certain = self._is_certain
        if self._link is None or not (is_certain or (self.has_ids and not self._history.unanswered)):
            return None
        try:
            self._prepare(unit_id, request)
        except ReadError:
            return None
        self._unverified = None if is_certain else (look_of(unit_id, request), timeout_s, on_send)
        self._on_sent = on_send
        return self._start(timeout_s, resend_after_s)

    def take(self, started: Exchange) -> bytes | None:
        """Return the data of the reply; see `Transport.take`."""
        if started.exception() or (reply := started.result()).exception_code is not None or not reply.has_id:
            return None
        self._end()
        return reply.registers

    async def finish(self, started: Exchange) -> bytes:
        """Wait for the reply; see `Transport.finish`."""
        if self._unverified:
            return _data(await self._receive_verified(*self._unverified, None, started))
        return _data(await self._reply_of(started))

    def _prepare(self, unit_id: int, request: Request) -> None:
        """Build the frame of the next request."""
        try:
            self._sent = self._framing.build(unit_id, request)
            self._history.reply_size = request.reply_size
        except Exception as err:  # an error of the library for a request fails only this request
            raise ReadError(FailureKind.INVALID_REPLY, one_line(err)) from err
        self.was_resent = False

    @property
    def _is_certain(self) -> bool:
        """Whether the gateway has shown that its replies have the ids of their requests."""
        return self._history.echoes_ids and self.has_ids

    async def _receive_verified(
        self,
        look: Look,
        timeout_s: float,
        on_send: Callable[[], None],
        resend_after_s: float | None,
        started: Exchange | None = None,
    ) -> FramedReply:
        """Send the request, unless `start` has sent it, and repeat it until the reply is certain."""
        if started is None:
            await self._wait_for_silence(0.0 if self._history.echoes_ids else self._history.unanswered.safe_at(look))
        verification = Verification(look, self._history.unanswered)

        def on_sent() -> None:
            self._history.unanswered.add(look, timeout_s)
            on_send()

        self._on_sent = on_sent
        for _ in range(0 if started is None else 1 + self.was_resent):
            self._history.unanswered.add(look, timeout_s)
        try:
            reply = await self._exchange_once(look, timeout_s, resend_after_s, started)
            while not verification.is_certain(reply):
                self._history.is_repeating = True
                await self._wait_for_silence(time.monotonic() + DOUBT_S)  # copies of the reply come in this time
                reply = await self._exchange_once(look, timeout_s, None)
        finally:
            self._history.is_repeating = False
        return reply

    async def _exchange_once(
        self, look: Look, timeout_s: float, resend_after_s: float | None, started: Exchange | None = None
    ) -> FramedReply:
        """Send the request, unless it was sent, and return what may be its reply."""
        if started is None:
            self._require_link()
            started = self._start(timeout_s, resend_after_s)
        try:
            return await self._reply_of(started)
        except ReadError as err:
            if err.kind is FailureKind.CLOSED or isinstance(err, ResendError):
                self._history.unanswered.remove(look)
            elif err.kind is FailureKind.TIMEOUT:
                self._history.unanswered.note_timeout(look, timeout_s)
            raise

    @property
    def can_be_kept(self) -> bool:
        """Return false: this kind of link is opened for each reading; see `Transport.can_be_kept`."""
        return False

    @property
    def has_ids(self) -> bool:
        """Whether a reply shows to which request it belongs."""
        return self._framing.has_ids and not self._history.is_without_ids

    def may_confuse(self, unit_id: int, request: Request) -> bool:
        """Whether the reply must be verified; see `Transport.may_confuse`."""
        return not self.has_ids and bool(self._history.unanswered.count(look_of(unit_id, request)))

    async def _wait_for_silence(self, safe_at: float) -> None:
        """Wait until late replies are not possible, and as the framing requires; drop bytes received in this time.

        Raises:
            ReadError: The link was closed in this time.
        """
        while (until := max(safe_at, self._last_received_s + self._framing.silent_s)) > (now := time.monotonic()):
            await asyncio.sleep(until - now)
            self._drop_received()
        if self._framing.silent_s:
            self._drop_received()
        self._require_link()

    def _require_link(self) -> None:
        if self._link is None:
            raise ReadError(FailureKind.CLOSED, self._closed_because)

    def _drop_received(self) -> None:
        if self._received:
            _, notices = self._framing.strip(b"", self._received, self._history)
            self._notice(*(notices or ("bytes are received between requests; they are dropped",)))
            self._received = b""


def _data(reply: FramedReply) -> bytes:
    """Return the data of a reply.

    Raises:
        ExceptionReplyError: It is an exception reply.
    """
    if reply.exception_code is not None:
        raise ExceptionReplyError(describe(reply.exception_code), reply.exception_code)
    return reply.registers


def look_of(unit_id: int, request: Request) -> Look:
    """Return the look of the replies to a request."""
    return Look(unit_id, int(request.function_code), request.reply_size)


def one_line(err: Exception) -> str:
    """Return the error's text without line breaks, or the name of its class if it has no text."""
    return " ".join(str(err).split()) or type(err).__name__
