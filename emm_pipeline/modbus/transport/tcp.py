"""One Modbus TCP connection; the only module that imports pymodbus.

pymodbus's requests go out by a transport of our own: its client drops a reply with a foreign transaction or unit id in
silence, waits on after garbage and after a lost connection, lets an undecodable reply fail in the event loop, and
makes as many objects per connection and reply as all else together. Here each byte of a reply is checked as it comes.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from pymodbus.framer import FramerSocket
from pymodbus.pdu import DecodePDU
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest

from emm_pipeline.errors import TransientError
from emm_pipeline.fleet import FunctionCode
from emm_pipeline.modbus.exception_codes import describe
from emm_pipeline.modbus.transport.resolving import resolve
from emm_pipeline.readings import FailureKind

if TYPE_CHECKING:
    from emm_pipeline.readings import Request

_HEADER = struct.Struct(">HHHBB")
"""Transaction id, protocol id, length of what follows the length field, unit id, function code."""

_LENGTH = struct.Struct(">H")
_LENGTH_AT = 4
_BEHIND_LENGTH = 6
"""Where a frame says its length, and where what it counts begins."""

_COUNT_AT = 10
"""Where a request to read registers says how many."""

_EXCEPTION_BIT = 0x80

_REGISTERS_AT = _HEADER.size + 1
"""Behind the byte count."""

_FRAMER = FramerSocket(DecodePDU(is_server=False))
_REQUESTS = {
    FunctionCode.READ_HOLDING_REGISTERS: ReadHoldingRegistersRequest,
    FunctionCode.READ_INPUT_REGISTERS: ReadInputRegistersRequest,
}


class ReadError(TransientError):
    """A request that brought no registers: the kind of failure, and a reason without host, unit and registers."""

    def __init__(self, kind: FailureKind, reason: str, exception_code: int | None = None) -> None:
        super().__init__(reason)
        self.kind = kind
        self.exception_code = exception_code


class _BrokenError(Exception):
    """The connection was broken in mid-request, or by the reply itself."""


class TcpTransport(asyncio.Protocol):
    """A connection to a gateway, for one request at a time; to be opened once, and closed.

    After an error other than EXCEPTION it must not be used any more: a late reply could answer the next request.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._transport: asyncio.Transport | None = None
        self._transaction_id = 0
        self._request = b""
        self._received = b""
        self._reply: asyncio.Future[bytes] | None = None
        """The reply that is awaited."""
        self._broken_by: str | None = None

    async def open(self, timeout_s: float) -> None:
        """Connects within `timeout_s` seconds.

        Raises:
            ReadError: REFUSED, with the operating system's reason.
        """
        awaited = "answer from the name server"
        try:
            async with asyncio.timeout(timeout_s):
                addresses = await resolve(self._host)
                awaited = "answer to connecting"
                await self._connect_to_one_of(addresses)
        except TimeoutError as err:
            raise ReadError(FailureKind.REFUSED, f"no {awaited} within {timeout_s} s") from err
        except (OSError, ValueError, OverflowError) as err:
            raise ReadError(FailureKind.REFUSED, _why_not_connected(err)) from err

    async def _connect_to_one_of(self, addresses: list[str]) -> None:
        loop = asyncio.get_running_loop()
        for address in addresses[:-1]:
            with suppress(OSError):
                await loop.create_connection(lambda: self, address, self._port)
                return
        await loop.create_connection(lambda: self, addresses[-1], self._port)

    @property
    def usable(self) -> bool:
        """Whether the connection still stands, and no byte came on it that was not asked for."""
        return self._broken_by is None and self._transport is not None

    def close(self) -> None:
        """Closes the connection; a late reply on it reaches nobody."""
        if self._transport:
            self._transport.abort()
            self._transport = None

    async def read(self, unit_id: int, request: Request, timeout_s: float) -> bytes:
        """Sends one request and awaits its reply.

        Returns:
            The registers as on the wire: `request.count` big-endian words.

        Raises:
            ReadError: TIMEOUT, EXCEPTION or INVALID_REPLY.
        """
        try:
            async with asyncio.timeout(timeout_s):
                reply = await self._send(unit_id, request)
        except TimeoutError as err:
            raise ReadError(FailureKind.TIMEOUT, f"no reply within {timeout_s} s") from err
        except Exception as err:  # whatever pymodbus makes of a request, only this one has failed
            raise ReadError(FailureKind.INVALID_REPLY, _one_line(err)) from err
        finally:
            self._reply = None
        if reply[_HEADER.size - 1] & _EXCEPTION_BIT:
            code = reply[_HEADER.size]
            raise ReadError(FailureKind.EXCEPTION, describe(code), code)
        return reply[_REGISTERS_AT:]

    def _send(self, unit_id: int, request: Request) -> asyncio.Future[bytes]:
        if self._transport is None or self._broken_by:
            raise _BrokenError(self._broken_by or "the connection is closed")
        self._transaction_id = self._transaction_id % 0xFFFF + 1
        ask = _REQUESTS[request.function_code](unit_id, self._transaction_id, request.address, request.count)
        self._request = _FRAMER.buildFrame(ask)
        self._received = b""
        self._reply = asyncio.get_running_loop().create_future()
        self._transport.write(self._request)
        return self._reply

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It stands."""
        self._transport = transport  # type: ignore[assignment]  # of a TCP connection it is one that writes

    def data_received(self, data: bytes) -> None:
        """Bytes came: a part of the reply, or what nobody asked for."""
        if self._reply is None or self._reply.done():
            self._break("bytes came that were not asked for")
            return
        self._received += data
        if problem := reply_problem(self._request, self._received):
            self._break(problem)
        elif _is_whole(self._received):
            self._reply.set_result(self._received)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        """The gateway, or the way to it, has ended the connection; or we did."""
        self._transport = None
        self._break("the connection was closed before the reply was complete")

    def _break(self, problem: str) -> None:
        """Ends the connection: what more may come is neither of use nor to fill the memory."""
        self._broken_by = self._broken_by or problem
        self.close()
        if self._reply and not self._reply.done():
            self._reply.set_exception(_BrokenError(problem))


def _is_whole(reply: bytes) -> bool:
    if len(reply) <= _HEADER.size:
        return False
    length: int = _LENGTH.unpack_from(reply, _LENGTH_AT)[0]
    return len(reply) == _BEHIND_LENGTH + length


def reply_problem(request: bytes, reply: bytes) -> str | None:
    """What is wrong with a reply, of which perhaps only the first bytes have come; None if nothing is.

    Args:
        request: The whole frame of a request to read registers.
        reply: All bytes that came since.
    """
    if len(reply) < _HEADER.size:
        return None
    asked_transaction_id, _, _, asked_unit_id, asked_function_code = _HEADER.unpack_from(request)
    (count,) = _LENGTH.unpack_from(request, _COUNT_AT)
    transaction_id, protocol_id, length, unit_id, function_code = _HEADER.unpack_from(reply)
    is_exception = bool(function_code & _EXCEPTION_BIT)
    body_size = 1 if is_exception else 1 + 2 * count
    body = reply[_HEADER.size :]

    checks = [
        ("protocol id", protocol_id, 0),
        ("transaction id", transaction_id, asked_transaction_id),
        ("unit id", unit_id, asked_unit_id),
        ("function code", function_code & ~_EXCEPTION_BIT, asked_function_code),
        ("length", length, body_size + 2),
    ]
    if body and not is_exception:
        checks.append(("byte count", body[0], 2 * count))
    for name, got, expected in checks:
        if got != expected:
            return f"the reply has {name} {got} instead of {expected}"
    return f"{len(body) - body_size} bytes too many came behind the reply" if len(body) > body_size else None


def _one_line(err: Exception) -> str:
    """The error's text without line breaks; its class if it has none."""
    return " ".join(str(err).split()) or type(err).__name__


def _why_not_connected(err: Exception) -> str:
    if isinstance(err, socket.gaierror):
        return f"name does not resolve ({err.strerror})"
    if isinstance(err, UnicodeError):
        return "name does not resolve: it is no valid host name"
    if isinstance(err, OSError) and err.errno:
        return os.strerror(err.errno).lower()
    return _one_line(err)
