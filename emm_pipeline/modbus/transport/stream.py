"""One exchange at a time over a stream of bytes: the common part of Modbus over TCP and over a serial line."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from emm_pipeline.modbus.transport.base import ExceptionReplyError, ReadError
from emm_pipeline.readings import FailureKind

if TYPE_CHECKING:
    from emm_pipeline.modbus.transport.base import Framing
    from emm_pipeline.readings import Request


class StreamTransport(asyncio.Protocol, ABC):
    """A `Transport` over an asyncio transport, which is a link that carries bytes. Subclasses open it."""

    def __init__(self, name: str, framing: Framing) -> None:
        self.name = name
        self._framing = framing
        self._link: asyncio.WriteTransport | None = None
        self._sent = b""
        self._received = b""
        self._reply: asyncio.Future[bytes] | None = None
        """The registers of the current request, when they arrive."""
        self._closed_because = "the connection is closed"

    @abstractmethod
    async def open(self, timeout_s: float) -> None:
        """Open the link, with this object as its protocol."""

    @property
    def is_open(self) -> bool:
        """Whether a request can be sent."""
        return self._link is not None

    async def exchange(self, unit_id: int, request: Request, timeout_s: float) -> bytes:
        """Send a request and wait for its reply; see `Transport.exchange`."""
        if self._link is None:
            raise ReadError(FailureKind.CLOSED, self._closed_because)
        try:
            self._sent = self._framing.build(unit_id, request)
        except Exception as err:  # an error of the library for a request fails only this request
            raise ReadError(FailureKind.INVALID_REPLY, one_line(err)) from err
        self._received = b""
        loop = asyncio.get_running_loop()
        self._reply = loop.create_future()
        timer = loop.call_later(timeout_s, self._time_out, timeout_s)
        self._link.write(self._sent)
        try:
            return await self._reply
        finally:
            timer.cancel()
            self._reply = None

    def close(self) -> None:
        """Close the link without sending buffered bytes; a late reply cannot be mistaken for the next one."""
        if self._link:
            self._link.abort()
            self._link = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio once the link is open."""
        self._link = transport  # type: ignore[assignment]  # both kinds of stream can be written to

    def data_received(self, data: bytes) -> None:
        """Called by asyncio with a part of the reply, or with unsolicited bytes."""
        if self._reply is None or self._reply.done():
            self._fail(ReadError(FailureKind.INVALID_REPLY, "unsolicited bytes were received"))
            return
        self._received += data
        try:
            registers = self._framing.parse(self._sent, self._received)
        except ExceptionReplyError as err:
            self._reply.set_exception(err)
        except ReadError as err:
            self._fail(err)
        else:
            if registers is not None:
                self._reply.set_result(registers)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        """Called by asyncio when the gateway, the network or this object has ended the connection."""
        self._link = None
        if self._received:
            self._fail(ReadError(FailureKind.INVALID_REPLY, "the connection was closed before the reply was complete"))
        else:
            self._fail(ReadError(FailureKind.CLOSED, "the connection was closed without a reply"))

    def _time_out(self, timeout_s: float) -> None:
        self._fail(ReadError(FailureKind.TIMEOUT, f"no reply within {timeout_s} s"))

    def _fail(self, err: ReadError) -> None:
        """Fail the exchange, and close the link, so that unusable bytes do not fill the memory."""
        self.close()
        self._closed_because = str(err)
        if self._reply and not self._reply.done():
            self._reply.set_exception(err)


def one_line(err: Exception) -> str:
    """Return the error's text without line breaks, or the name of its class if it has no text."""
    return " ".join(str(err).split()) or type(err).__name__
