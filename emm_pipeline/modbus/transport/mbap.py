"""Modbus TCP's framing (Modbus Messaging on TCP/IP 1.0b, section 3.1): the MBAP header, and a reply's check against it.

Pymodbus builds the requests. It does not read the replies: its client silently drops a reply with another transaction
or unit id, and continues to wait after garbage. This module checks each byte when it arrives. It accepts common errors
of devices if the data is certain: unit, function and byte count must always be those of the request.
"""

from __future__ import annotations

import os
import struct
from itertools import count
from random import randrange
from typing import TYPE_CHECKING, Self

from emm_pipeline.modbus.transport.base import FramedReply, ReadError, ResendError
from emm_pipeline.modbus.transport.requests import EXCEPTION_BIT, behind_id, reply_size
from emm_pipeline.modbus.transport.signatures import recognized, rtu_frame
from emm_pipeline.readings import FailureKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from emm_pipeline.modbus.transport.history import ReplyHistory
    from emm_pipeline.readings import Request

_HEADER = struct.Struct(">HHHBB")
"""Transaction id, protocol id, length of what follows the length field, unit id, function code."""
_FIELDS = {1: "protocol id", 0: "transaction id", 3: "unit id", 4: "function code", 2: "length"}
"""The header's fields by place, in the order in which an error names them."""

_REPLY_START = struct.Struct(">HHHBBB")
"""The same followed by the byte count: the beginning of a reply with registers."""

_LENGTH = struct.Struct(">H")
_COUNT_AT = 10
"""Position of the register count in a request."""

_LONGEST_FRAME = 260
"""Bytes of the longest frame. After more bytes without a valid frame, waiting ends."""

_EXCEPTION_LENGTH = 3
"""The header's length in an exception reply: unit id, function code, exception code."""

_LENGTHS = range(_EXCEPTION_LENGTH, _LONGEST_FRAME - 5)
"""The allowed values of the header's length."""

TWICE = "the device sends replies twice; the copies are dropped"
SURPLUS = "surplus bytes come with the replies; they are dropped, and the connection is opened again"
BEFORE = "the gateway sent other bytes before its first reply; they are dropped"
NO_ID = "replies have transaction id 0, or another one that is not that of the request; they are accepted, since only \
one request is under way"
COPY = "the reply is equal to the one before, and has no id that tells whether it is a copy"


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

    silent_s = 0.0
    has_ids = True

    def __init__(self, transaction_ids: Iterator[int] = _of_this_process) -> None:
        self._transaction_ids = transaction_ids

    def build(self, unit_id: int, request: Request) -> bytes:
        """Return the frame of a request, with the next transaction id."""
        return next(self._transaction_ids).to_bytes(2) + behind_id(unit_id, request)

    def parse(self, sent: bytes, received: bytes, history: ReplyHistory) -> FramedReply | ReadError | None:
        """Find the reply to a request; see `Framing.parse`."""
        transaction_id, _, _, unit_id, function_code = _HEADER.unpack_from(sent)
        size = history.reply_size or reply_size(_LENGTH.unpack_from(sent, _COUNT_AT)[0])
        start = _REPLY_START.pack(transaction_id, 0, size + 3, unit_id, function_code, size)
        if received.startswith(start) and len(received) == len(start) + size:
            history.echoes_ids = True
            return FramedReply(received[len(start) :], None, received)
        return _Reply(start, history).found_in(received)

    def strip(self, sent: bytes, received: bytes, history: ReplyHistory) -> tuple[bytes, tuple[str, ...]]:
        """Drop late replies that are awaited; `parse` recognizes others by their ids. See `Framing.strip`."""
        del sent
        return history.late.drop_frames(received) if history.late.listens else received, ()

    def explain(self, received: bytes) -> ReadError | None:
        """Return what these bytes are; see `Framing.explain`."""
        return recognized(received) or rtu_frame(received)


class _Reply:
    """The search for the reply that begins with `start` among bytes that include others."""

    def __init__(self, start: bytes, history: ReplyHistory) -> None:
        self._start = start
        self._history = history
        self._transaction_id, _, self._length, self._unit_id, self._function_code, self._size = _REPLY_START.unpack(
            start
        )
        self._notices: list[str] = []

    def found_in(self, received: bytes) -> FramedReply | ReadError | None:
        """Drop copies of earlier replies, then judge what comes first."""
        while copy := self._history.copy_in(received):
            if self._history.is_without_ids:
                if not self._history.was_just_taken(copy):
                    break
                raise ResendError(FailureKind.INVALID_REPLY, COPY)
            self._note(TWICE)
            received = received[len(copy) :]
        if len(received) < _HEADER.size or (
            self._history.begins_copy(received) and not self._start.startswith(received)
        ):
            return None
        _, protocol_id, length, _, _ = _HEADER.unpack_from(received)
        if protocol_id or length not in _LENGTHS:
            return self._behind_other_bytes(received)
        return self._judge(received)

    def _judge(self, received: bytes) -> FramedReply | ReadError | None:
        """Judge a frame with a header."""
        transaction_id, _, length, _, function_code = _HEADER.unpack_from(received)
        body = received[_HEADER.size :]
        is_exception = bool(function_code & EXCEPTION_BIT)
        if wrong := self._mismatch(received):
            raise wrong
        if transaction_id != self._transaction_id and not self._may_lack_id(transaction_id):
            raise self._wrong("transaction id", transaction_id, self._transaction_id)
        if len(body) < (1 if is_exception else 1 + self._size):
            if transaction_id == self._transaction_id:
                return None
            return self._wrong("transaction id", transaction_id, self._transaction_id)
        end = _HEADER.size + (1 if is_exception else 1 + self._size)
        frame, rest = received[:end], received[end:]
        registers, code = (b"", body[0]) if is_exception else (frame[len(self._start) :], None)
        is_longer = length > end - _HEADER.size + 2
        if transaction_id != self._transaction_id:
            reply = FramedReply(registers, code, frame, rest, taints_link=is_longer)
            return self._without_id(reply, transaction_id)
        self._history.echoes_ids = True
        while not is_longer and rest.startswith(frame):
            self._note(TWICE)
            rest = rest[len(frame) :]
        if is_longer or (rest and not frame.startswith(rest)):
            self._note(SURPLUS)
        return FramedReply(registers, code, frame, rest, tuple(self._notices), taints_link=SURPLUS in self._notices)

    def _mismatch(self, received: bytes) -> ReadError | None:
        """Return the error for the first wrong field of the header, except the transaction id."""
        transaction_id, _, length, unit_id, function_code = _HEADER.unpack_from(received)
        body = received[_HEADER.size :]
        is_exception = bool(function_code & EXCEPTION_BIT)
        if not is_exception and length > self._length and not body:
            return None  # the byte count decides whether these are surplus bytes
        wrong_count = bool(body) and not is_exception and body[0] != self._size
        length_wanted = _EXCEPTION_LENGTH if is_exception else self._length
        surplus_only = length > length_wanted and not wrong_count
        checks = [
            ("unit id", unit_id, self._unit_id),
            ("function code", function_code & ~EXCEPTION_BIT, self._function_code),
            ("length", length_wanted if surplus_only else length, length_wanted),
            ("byte count", body[0] if wrong_count else self._size, self._size),
        ]
        if transaction_id != self._transaction_id and (transaction_id or self._history.echoes_ids):
            first = ("transaction id", transaction_id, self._transaction_id)
            if any(got != wanted for _, got, wanted in checks):
                checks.insert(0, first)
        return next((self._wrong(*each) for each in checks if each[1] != each[2]), None)

    def _may_lack_id(self, transaction_id: int) -> bool:
        """Whether a reply with another id may be the right one, because the gateway has never echoed an id."""
        is_ours = transaction_id and transaction_id.to_bytes(2) in self._history.sent_ids
        return not self._history.echoes_ids and not is_ours

    def _without_id(self, reply: FramedReply, transaction_id: int) -> FramedReply | ReadError | None:
        """Accept a reply with a wrong transaction id if the id is always the same, and the reply is not a copy.

        Raises:
            ResendError: It may be a copy of an earlier reply, or it is not known yet whether the id is always the same.
        """
        history = self._history
        if (at := self._find_start(reply.rest)) >= 0 and not history.is_without_ids:
            return self.found_in(reply.rest[at:])  # the right one follows: the gateway first sent another client's
        if transaction_id and transaction_id not in history.other_ids:
            history.note_id(transaction_id)
            wrong = self._wrong("transaction id", transaction_id, self._transaction_id)
            raise ResendError(wrong.kind, str(wrong))
        if history.was_just_taken(reply.frame):
            raise ResendError(FailureKind.INVALID_REPLY, COPY)
        notices = (NO_ID, SURPLUS) if reply.rest else (NO_ID,)
        return reply._replace(
            notices=notices,
            is_certain=history.is_without_ids,
            has_id=False,
            taints_link=bool(reply.rest) or reply.taints_link,
        )

    def _find_start(self, received: bytes) -> int:
        """Return the position of the reply, or exception reply, with the right id; -1 if there is none."""
        exception = self._function_code | EXCEPTION_BIT
        exception_start = _HEADER.pack(self._transaction_id, 0, 3, self._unit_id, exception)
        return max(received.find(start) for start in (self._start, exception_start))

    def _behind_other_bytes(self, received: bytes) -> FramedReply | ReadError | None:
        """Return the reply with the right id that follows other bytes, or the error if no reply follows.

        Raises:
            ReadError: The bytes are those of a known other protocol, or there are too many.
        """
        if (at := self._find_start(received)) > 0:
            self._note(SURPLUS if self._history.has_replied else BEFORE)
            return self._judge(received[at:])
        if known := recognized(received) or rtu_frame(received):
            raise known
        got, wanted = _HEADER.unpack_from(received), _HEADER.unpack(self._start[: _HEADER.size])
        wrong = next(self._wrong(name, got[i], wanted[i]) for i, name in _FIELDS.items() if got[i] != wanted[i])
        if len(received) > _LONGEST_FRAME:
            raise wrong
        return wrong

    def _note(self, notice: str) -> None:
        if notice not in self._notices:
            self._notices.append(notice)

    def _wrong(self, field: str, got: int, wanted: int) -> ReadError:
        reason, advice = f"the reply has {field} {got} instead of {wanted}", None
        if field == "unit id":
            reason = f"{reason}: the device answers as unit {got}"
            advice = f"set the unit id (slave_address) to {got}, if this is the device"
        return ReadError(FailureKind.INVALID_REPLY, reason, advice=advice)
