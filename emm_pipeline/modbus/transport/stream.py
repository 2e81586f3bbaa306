"""One exchange at a time over a link that carries bytes: the common part of all transports."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from emm_pipeline.modbus.exception_codes import describe
from emm_pipeline.modbus.transport.base import ExceptionReplyError, FramedReply, ReadError
from emm_pipeline.modbus.transport.history import ReplyHistory
from emm_pipeline.readings import FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from emm_pipeline.modbus.transport.base import Framing
    from emm_pipeline.modbus.transport.links import Connection, Link
    from emm_pipeline.readings import Request

MOST_UNSOLICITED = 1024
"""Maximum number of bytes between two exchanges, and before the first one; more are an error."""

DOUBT_S = 0.3
"""Time to wait for further bytes if the received bytes are probably not a reply, or not the best one."""


class StreamTransport(ABC):
    """A `Transport` over a link that carries bytes. Subclasses open it, with a `Connection` as asyncio's protocol."""

    def __init__(self, name: str, framing: Framing) -> None:
        self.name = name
        self.notices: list[str] = []
        self._framing = framing
        self._history = ReplyHistory()
        self._link: Link | None = None
        self._connection: Connection | None = None
        self._sent = b""
        self._size = 0
        self._received = b""
        self._last_received_s = 0.0
        self._reply: asyncio.Future[bytes] | None = None
        """The registers that are awaited."""
        self._on_resend: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._doubt: tuple[FramedReply | ReadError, asyncio.TimerHandle] | None = None
        """The result of the exchange unless other bytes follow, and the timer that ends the wait for them."""
        self._noticed: set[str] = set()
        self._closed_because = "the connection is closed"

    @abstractmethod
    async def open(self, timeout_s: float) -> None:
        """Open the link, with a `Connection` as its protocol."""

    @property
    def is_open(self) -> bool:
        """Whether a request can be sent."""
        return self._link is not None

    async def exchange(
        self, unit_id: int, request: Request, timeout_s: float, on_resend: Callable[[], None] | None = None
    ) -> bytes:
        """Send a request and wait for its reply; see `Transport.exchange`."""
        if self._link is None:
            raise ReadError(FailureKind.CLOSED, self._closed_because)
        try:
            self._sent = self._framing.build(unit_id, request)
            self._history.reply_size = request.reply_size
        except Exception as err:  # an error of the library for a request fails only this request
            raise ReadError(FailureKind.INVALID_REPLY, one_line(err)) from err
        key = (unit_id, int(request.function_code), request.count)
        await self._wait_for_silence(self._history.safe_at(key))
        self._history.sent_ids.add(self._sent[:2])
        self._on_resend = on_resend
        self._reply = asyncio.get_running_loop().create_future()
        self._send(timeout_s)
        try:
            return await self._reply
        except ReadError as err:
            if err.kind is FailureKind.TIMEOUT:
                self._history.got_no_reply(key, timeout_s)
            raise
        finally:
            self._stop_timers()
            self._reply = None

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
        if self._link is None:
            raise ReadError(FailureKind.CLOSED, self._closed_because)

    def _drop_received(self) -> None:
        if self._received:
            self._notice("bytes are received between requests; they are dropped")
            self._received = b""

    def _send(self, timeout_s: float) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(timeout_s, self._time_out, timeout_s)
        if self._link:
            self._link.write(self._sent)

    def close(self) -> None:
        """Close the link without sending what is left; a late reply cannot be mistaken for the next one."""
        self._stop_timers()
        if self._link:
            self._link.abort()
            self._link = None

    def keep(self) -> None:
        """Close the link; see `Transport.keep`."""
        self.close()

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
            self._take_unsolicited()
            return
        self._drop_doubt()
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
        for notice in found.notices:
            self._notice(notice)
        self._received = b"" if found.taints_link else found.rest
        if found.exception_code is None:
            self._reply.set_result(found.registers)
        else:
            self._reply.set_exception(ExceptionReplyError(describe(found.exception_code), found.exception_code))
        if found.taints_link:
            self.close()

    def _notice(self, notice: str) -> None:
        """Add a notice, once per connection."""
        if notice not in self._noticed:
            self._noticed.add(notice)
            self.notices.append(notice)

    def lose(self, connection: Connection) -> None:
        """End the exchange, because one end has closed the link."""
        if self._link is None or connection is not self._connection:
            return
        self._link = None
        if self._doubt:
            self._end_doubt()
        elif self._received:
            reason = "the connection was closed before the reply was complete"
            self._fail(self._framing.explain(self._received) or ReadError(FailureKind.INVALID_REPLY, reason))
        else:
            self._fail(ReadError(FailureKind.CLOSED, "the connection was closed without a reply"))

    def _time_out(self, timeout_s: float) -> None:
        if self._on_resend and not self._received:
            self._on_resend()
            self._on_resend = None
            self._send(timeout_s)
        elif self._doubt:
            self._end_doubt()
        else:
            received = f" ({len(self._received)} bytes of it were received)" if self._received else ""
            self._fail(
                self._framing.explain(self._received)
                or ReadError(FailureKind.TIMEOUT, f"no reply within {timeout_s} s{received}")
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


def one_line(err: Exception) -> str:
    """Return the error's text without line breaks, or the name of its class if it has no text."""
    return " ".join(str(err).split()) or type(err).__name__
