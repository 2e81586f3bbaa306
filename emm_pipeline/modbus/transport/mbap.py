"""Modbus TCP's framing (Modbus Messaging on TCP/IP 1.0b, section 3.1): the MBAP header, and a reply's check against it.

pymodbus builds the requests. Replies are parsed here, because pymodbus' client silently drops a reply with another
transaction or unit id, and continues to wait after invalid bytes. Here each byte is checked as it is received.
"""

from __future__ import annotations

import os
import struct
from itertools import count
from random import randrange
from typing import TYPE_CHECKING, Self

from pymodbus.framer import FramerSocket
from pymodbus.pdu import DecodePDU
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest

from emm_pipeline.fleet import FunctionCode
from emm_pipeline.modbus.exception_codes import describe
from emm_pipeline.modbus.transport.base import ExceptionReplyError, ReadError
from emm_pipeline.readings import FailureKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from emm_pipeline.readings import Request

_HEADER = struct.Struct(">HHHBB")
"""Transaction id, protocol id, length of what follows the length field, unit id, function code."""

_REPLY_START = struct.Struct(">HHHBBB")
"""The same followed by the byte count: the beginning of a reply with registers."""

_LENGTH = struct.Struct(">H")
_COUNT_AT = 10
"""Position of the register count in a request."""

_EXCEPTION_BIT = 0x80

_FRAMER = FramerSocket(DecodePDU(is_server=False))
_REQUESTS = {
    FunctionCode.READ_HOLDING_REGISTERS: ReadHoldingRegistersRequest,
    FunctionCode.READ_INPUT_REGISTERS: ReadInputRegistersRequest,
}


class TransactionIds:
    """Transaction ids 1 to 65535, repeated, for all connections of the process, starting at a random one.

    Therefore a reply to a request of an earlier connection, or of another process, very rarely has the expected id.
    """

    def __init__(self) -> None:
        self._numbers: Iterator[int] = count()
        self._restart()
        os.register_at_fork(after_in_child=self._restart)

    def _restart(self) -> None:
        """Continue at another random id, because a forked process must not use the same ids as its parent."""
        self._numbers = count(randrange(0xFFFF))  # noqa: S311 - to tell replies apart, not to keep a secret

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> int:
        return next(self._numbers) % 0xFFFF + 1


_of_this_process = TransactionIds()


class MbapFraming:
    """Requests and replies with an MBAP header."""

    def __init__(self, transaction_ids: Iterator[int] = _of_this_process) -> None:
        self._transaction_ids = transaction_ids

    def build(self, unit_id: int, request: Request) -> bytes:
        """Return the frame of a request, with the next transaction id."""
        pdu = _REQUESTS[request.function_code](unit_id, next(self._transaction_ids), request.address, request.count)
        return _FRAMER.buildFrame(pdu)

    def parse(self, sent: bytes, received: bytes) -> bytes | None:
        """Return the registers of the reply; None while bytes are missing.

        Raises:
            ExceptionReplyError: It is an exception reply.
            ReadError: INVALID_REPLY: it is not a reply to the request.
        """
        transaction_id, _, _, unit_id, function_code = _HEADER.unpack_from(sent)
        size = 2 * _LENGTH.unpack_from(sent, _COUNT_AT)[0]
        start = _REPLY_START.pack(transaction_id, 0, size + 3, unit_id, function_code, size)
        if received.startswith(start) and len(received) == len(start) + size:
            return received[len(start) :]
        _check_other(start, received)
        return None


def _check_other(start: bytes, received: bytes) -> None:
    """Raise an error for bytes that cannot be the beginning of the reply that begins with `start`."""
    if len(received) < _HEADER.size:
        return
    *expected, expected_unit_id, expected_function_code, size = _REPLY_START.unpack(start)
    transaction_id, protocol_id, length, unit_id, function_code = _HEADER.unpack_from(received)
    is_exception = bool(function_code & _EXCEPTION_BIT)
    body = received[_HEADER.size :]
    body_size = 1 if is_exception else 1 + size
    checks = [
        ("protocol id", protocol_id, 0),
        ("transaction id", transaction_id, expected[0]),
        ("unit id", unit_id, expected_unit_id),
        ("function code", function_code & ~_EXCEPTION_BIT, expected_function_code),
        ("length", length, body_size + 2),
    ]
    if body and not is_exception:
        checks.append(("byte count", body[0], size))
    for field, got, wanted in checks:
        if got != wanted:
            raise ReadError(FailureKind.INVALID_REPLY, f"the reply has {field} {got} instead of {wanted}")
    if len(body) > body_size:
        reason = f"{len(body) - body_size} bytes too many were received after the reply"
        raise ReadError(FailureKind.INVALID_REPLY, reason)
    if is_exception and body:
        raise ExceptionReplyError(describe(body[0]), body[0])
