"""One Modbus TCP connection; the only module that imports pymodbus.

pymodbus frames requests and decodes replies, but drops a reply with a foreign transaction or unit id in silence, waits
on after garbage and after a lost connection, and lets an undecodable reply fail in the event loop. So the bytes of
each reply are checked here as they come, before pymodbus sees them, and what it makes of them afterwards.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import DecodePDU, ExceptionResponse, ModbusPDU
from pymodbus.pdu.register_message import ReadHoldingRegistersResponse

from emm_pipeline.errors import TransientError
from emm_pipeline.fleet import FunctionCode
from emm_pipeline.modbus.exception_codes import describe
from emm_pipeline.modbus.resolving import resolve
from emm_pipeline.readings import FailureKind

if TYPE_CHECKING:
    from emm_pipeline.modbus.planning import Request

_HEADER = struct.Struct(">HHHBB")
"""Transaction id, protocol id, length of what follows the length field, unit id, function code."""

_COUNT = struct.Struct(">H")
_COUNT_AT = 10
"""Where a request to read registers says how many."""

_EXCEPTION_BIT = 0x80

_LONGER_THAN_ANY_TIMEOUT_S = 86_400.0
"""pymodbus's own timeout must never come first: it does not tell what had happened."""


class _HoldingReply(ReadHoldingRegistersResponse):
    """A reply whose registers stay bytes: they are decoded for all meters at once."""

    data = b""

    def decode(self, data: bytes) -> None:
        """Keeps them; that they are as many as was asked for is checked by their reader."""
        self.data = data[1:]


class _InputReply(_HoldingReply):
    """The same, of input registers."""

    function_code = 4


_DECODER = DecodePDU(is_server=False)
for _reply in (_HoldingReply, _InputReply):
    _DECODER.register(_reply)


class ReadError(TransientError):
    """A request that brought no registers: the kind of failure, and a reason without host, unit and registers."""

    def __init__(self, kind: FailureKind, reason: str, exception_code: int | None = None) -> None:
        super().__init__(reason)
        self.kind = kind
        self.exception_code = exception_code


class Connection:
    """A connection to a gateway, for one request at a time; to be opened once, and closed.

    After an error other than EXCEPTION it must not be used any more: a late reply could answer the next request.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._request_frame = b""
        self._awaiting_reply = False
        self._broken_by: str | None = None
        self._client = AsyncModbusTcpClient(
            host,
            port=port,
            timeout=_LONGER_THAN_ANY_TIMEOUT_S,
            retries=0,
            reconnect_delay=0,
            trace_packet=self._on_packet,
            trace_connect=self._on_connection_change,
        )
        # Else pymodbus drops what is longer than any frame before it can be seen to be wrong.
        self._client.ctx.max_buffer_size = sys.maxsize
        # One for all connections: `self._client.register` would copy pymodbus's table for each.
        self._client.ctx.framer.decoder = _DECODER

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
        """Does what pymodbus's connect() does, but that hides why it failed."""
        loop = asyncio.get_running_loop()
        for address in addresses[:-1]:
            with suppress(OSError):
                await loop.create_connection(lambda: self._client.ctx, address, self._port)
                return
        await loop.create_connection(lambda: self._client.ctx, addresses[-1], self._port)

    @property
    def usable(self) -> bool:
        """Whether the connection still stands, and no byte came on it that was not asked for."""
        return self._broken_by is None and self._client.connected

    def close(self) -> None:
        """Closes the connection; a late reply on it reaches nobody."""
        self._client.close()

    async def read(self, unit_id: int, request: Request, timeout_s: float) -> bytes:
        """Sends one request and awaits its reply.

        Returns:
            The registers as on the wire: `request.count` big-endian words.

        Raises:
            ReadError: TIMEOUT, EXCEPTION or INVALID_REPLY.
        """
        self._awaiting_reply = True
        try:
            async with asyncio.timeout(timeout_s):
                reply = await self._send(unit_id, request)
        except TimeoutError as err:
            raise ReadError(FailureKind.TIMEOUT, f"no reply within {timeout_s} s") from err
        except Exception as err:  # whatever pymodbus raises, only this request has failed
            raise ReadError(FailureKind.INVALID_REPLY, self._broken_by or _one_line(err)) from err
        finally:
            self._awaiting_reply = False
        return _registers(reply, unit_id, request)

    async def _send(self, unit_id: int, request: Request) -> ModbusPDU:
        if request.function_code is FunctionCode.READ_HOLDING_REGISTERS:
            read = self._client.read_holding_registers
        else:
            read = self._client.read_input_registers
        return await read(request.address, count=request.count, device_id=unit_id)

    def _on_packet(self, sending: bool, data: bytes) -> bytes:
        """Called with each request, and with all that has come of its reply; returns what pymodbus shall see of it."""
        if sending:
            self._request_frame = data
        elif not self._awaiting_reply or self._client.ctx.response_future.done():
            self._break("bytes came that were not asked for")
            return b""
        elif problem := reply_problem(self._request_frame, data):
            self._break(problem)
            return b""
        return data

    def _on_connection_change(self, connected: bool) -> None:
        if not connected:
            self._break("the connection was closed before the reply was complete")

    def _break(self, problem: str) -> None:
        """Ends the connection: what more may come is neither of use nor to fill the memory."""
        self._broken_by = self._broken_by or problem
        self.close()
        reply = self._client.ctx.response_future
        if self._awaiting_reply and not reply.done():
            reply.set_exception(ModbusException(problem))


def reply_problem(request: bytes, reply: bytes) -> str | None:
    """What is wrong with a reply, of which perhaps only the first bytes have come; None if nothing is.

    Args:
        request: The whole frame of a request to read registers.
        reply: All bytes that came since.
    """
    if len(reply) < _HEADER.size:
        return None
    asked_transaction_id, _, _, asked_unit_id, asked_function_code = _HEADER.unpack_from(request)
    (count,) = _COUNT.unpack_from(request, _COUNT_AT)
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


def _registers(reply: ModbusPDU, unit_id: int, request: Request) -> bytes:
    if isinstance(reply, ExceptionResponse):
        code = reply.exception_code
        raise ReadError(FailureKind.EXCEPTION, describe(code), code)
    if (
        not isinstance(reply, _HoldingReply)
        or reply.function_code != request.function_code
        or reply.dev_id != unit_id
        or len(reply.data) != 2 * request.count
    ):
        raise ReadError(FailureKind.INVALID_REPLY, f"the reply is no answer to the request: {reply}")
    return reply.data


def _why_not_connected(err: Exception) -> str:
    if isinstance(err, socket.gaierror):
        return f"name does not resolve ({err.strerror})"
    if isinstance(err, UnicodeError):
        return "name does not resolve: it is no valid host name"
    if isinstance(err, OSError) and err.errno:
        return os.strerror(err.errno).lower()
    return _one_line(err)
