"""Receive replies over a link that carries bytes: one request at a time, with timeouts and doubtful replies."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from emm_pipeline.modbus.transport.base import FramedReply, ReadError
from emm_pipeline.modbus.transport.history import ReplyHistory
from emm_pipeline.modbus.transport.memory import Unanswered, memory_of
from emm_pipeline.readings import FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from emm_pipeline.fleet import GatewayAddress
    from emm_pipeline.modbus.transport.base import Exchange, Framing
    from emm_pipeline.modbus.transport.lateness import LateReplies
    from emm_pipeline.modbus.transport.links import Connection, Link
    from emm_pipeline.modbus.transport.memory import Look

MOST_UNSOLICITED = 1024
"""Maximum number of bytes between two exchanges, and before the first one; more are an error."""

DOUBT_S = 0.3
"""Time to wait for further bytes if the received bytes are probably not a reply, or not the best one."""


def _do_nothing() -> None:
    """Do nothing when a request is sent."""


class ReplyReceiver:
    """The owner of a link (`LinkOwner`): it sends frames over it, and finds their replies among the received bytes."""

    def __init__(self, gateway: GatewayAddress, framing: Framing) -> None:
        self._gateway = gateway
        self.notices: list[str] = []
        self._framing = framing
        unanswered = Unanswered() if framing.has_ids else memory_of(gateway).unanswered
        self._history = ReplyHistory(unanswered=unanswered)
        self._link: Link | None = None
        self._connection: Connection | None = None
        self._sent = b""
        self._received = b""
        self._last_received_s = 0.0
        self._sent_s = 0.0
        self._reply: Exchange | None = None
        """The awaited reply."""
        self._on_sent: Callable[[], None] = _do_nothing
        """Called each time that a request is sent."""
        self._unverified: tuple[Look, float, Callable[[], None]] | None = None
        """The request that was started, to verify its reply if that comes without the id: look, timeout, `on_send`."""
        self._timeout_s = 0.0
        self._may_resend = False
        self.was_resent = False
        self._timer: asyncio.TimerHandle | None = None
        self._doubt: tuple[FramedReply | ReadError, asyncio.TimerHandle] | None = None
        """The result of the exchange unless other bytes follow, and the timer that ends the wait for them."""
        self._noticed: set[str] = set()
        self._closed_because = "the connection is closed"

    @property
    def name(self) -> str:
        """Name for messages."""
        return self._gateway.name

    @property
    def is_open(self) -> bool:
        """Whether a request can be sent."""
        return self._link is not None

    def _start(self, timeout_s: float, resend_after_s: float | None) -> Exchange:
        """Send the request; return the exchange, which `_end` ends."""
        self._history.sent_ids.add(self._sent[:2])
        self._timeout_s = timeout_s
        self._may_resend = resend_after_s is not None
        self._reply = asyncio.get_running_loop().create_future()
        self._send(timeout_s if resend_after_s is None else resend_after_s)
        return self._reply

    async def _reply_of(self, started: Exchange) -> FramedReply:
        """Return what may be the reply.

        Raises:
            ReadError: There is no reply.
        """
        try:
            return await started
        finally:
            self._end()

    def _end(self) -> None:
        """End the exchange."""
        self._stop_timers()
        self._reply = None

    def _send(self, wait_s: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._time_out)
        if self._link:
            self._on_sent()
            self._sent_s = time.monotonic()
            self._link.write(self._sent)

    @property
    def late(self) -> LateReplies:
        """The replies that came after their timeouts; see `Transport.late`."""
        return self._history.late

    def close(self) -> None:
        """Close the link without sending what is left; a late reply cannot be mistaken for the next one."""
        self._stop_timers()
        if self._link:
            self._link.abort()
            self._link = self._connection = None  # without a cycle of references, the memory is free at once

    def begin(self, connection: Connection, link: Link) -> None:
        """The link is open."""
        self._link, self._connection = link, connection
        self._received = b""
        self._noticed.clear()
        self._history.begin_connection()

    def receive(self, connection: Connection, data: bytes) -> None:
        """Bytes were received: a part of the reply, or others."""
        if self._link is None or connection is not self._connection:
            return
        self._last_received_s = time.monotonic()
        self._received += data
        if self._reply is None or self._reply.done():
            if self._history.late.listens:
                self._received, _ = self._framing.strip(b"", self._received, self._history)
            if self._received:
                self._take_unsolicited()
            return
        self._drop_doubt()
        self._received, notices = self._framing.strip(self._sent, self._received, self._history)
        if notices:
            self._notice(*notices)
        try:
            found = self._framing.parse(self._sent, self._received, self._history)
        except ReadError as err:
            self._fail(err)
            return
        if isinstance(found, ReadError) or (found and not found.is_certain):
            timer = asyncio.get_running_loop().call_later(DOUBT_S, self._end_doubt)
            self._doubt = found, timer
        elif found:
            self._accept(found)

    def _take_unsolicited(self) -> None:
        """Drop bytes before the first request, and copies of replies; close the link after other bytes."""
        if len(self._received) > MOST_UNSOLICITED:
            self._fail(ReadError(FailureKind.INVALID_REPLY, "unsolicited bytes were received"))
        elif not self._framing.silent_s and self._history.has_replied:
            while copy := self._history.copy_in(self._received):
                self._received = self._received[len(copy) :]
                self._notice("the device sends replies twice; the copies are dropped")
            if not self._history.begins_copy(self._received):
                self._notice("bytes are received behind the replies; the connection is opened again")
                self._fail(ReadError(FailureKind.INVALID_REPLY, "unsolicited bytes were received"))

    def _accept(self, found: FramedReply) -> None:
        """End the exchange with a reply."""
        if self._reply is None or self._reply.done():
            return
        self._history.took(found.frame)
        if found.notices:
            self._notice(*found.notices)
        self._received = b"" if found.taints_link else found.rest
        self._reply.set_result(found)
        if found.taints_link:
            self.close()

    def _notice(self, *notices: str) -> None:
        """Add notices, once per connection."""
        for notice in notices:
            if notice not in self._noticed:
                self._noticed.add(notice)
                self.notices.append(notice)

    def lose(self, connection: Connection) -> None:
        """End the exchange, because one end has closed the link."""
        if self._link is None or connection is not self._connection:
            return
        self._link = self._connection = None
        if self._doubt:
            self._end_doubt()
        elif self._received:
            reason = "the connection was closed before the reply was complete"
            self._fail(self._framing.explain(self._received) or ReadError(FailureKind.INVALID_REPLY, reason))
        else:
            self._fail(ReadError(FailureKind.CLOSED, "the connection was closed without a reply"))

    def _time_out(self) -> None:
        if self._reply is None or self._reply.done():  # the reply came just before
            return
        if self._may_resend and not self._received:
            self._may_resend, self.was_resent = False, True
            self._send(self._timeout_s)
        elif self._doubt:
            self._end_doubt()
        elif self._history.late.listens and not self._received and self._reply and not self._reply.done():
            self._history.late.await_late(self._sent, has_ids=self._framing.has_ids, sent_at=self._sent_s)
            self._reply.set_exception(ReadError(FailureKind.TIMEOUT, f"no reply within {self._timeout_s} s"))
        else:
            received = f" ({len(self._received)} bytes of it were received)" if self._received else ""
            self._fail(
                self._framing.explain(self._received)
                or ReadError(FailureKind.TIMEOUT, f"no reply within {self._timeout_s} s{received}")
            )

    def _end_doubt(self) -> None:
        """End the exchange, because no better reply has arrived."""
        if self._doubt is None:
            return
        found = self._doubt[0]
        self._drop_doubt()
        if isinstance(found, ReadError):
            self._fail(found)
        else:
            self._history.is_without_ids = True
            self._accept(found)

    def _drop_doubt(self) -> None:
        if self._doubt:
            self._doubt[1].cancel()
            self._doubt = None

    def _stop_timers(self) -> None:
        if self._doubt:
            self._drop_doubt()
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _fail(self, err: ReadError) -> None:
        """Fail the exchange, and close the link, so that unusable bytes do not fill the memory."""
        self.close()
        self._closed_because = str(err)
        if self._reply and not self._reply.done():
            self._reply.set_exception(err)
