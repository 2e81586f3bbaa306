"""RTU's framing (Modbus over Serial Line 1.02, section 2.5.1): unit, function, data, and a checksum.

A frame has no transaction id. A reply is matched to its request by unit, function and byte count; `history` recognizes
copies and late replies, and `verifying` those that look like the right one.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from pymodbus.framer import FramerRTU

from emm_pipeline.modbus.transport.base import FramedReply, ReadError, ResendError
from emm_pipeline.modbus.transport.crc import CRC_SIZE, LEAST_FRAME, has_right_crc
from emm_pipeline.modbus.transport.memory import Look
from emm_pipeline.modbus.transport.requests import DECODER, EXCEPTION_BIT, reply_size, request_pdu
from emm_pipeline.modbus.transport.signatures import mbap_frame, recognized
from emm_pipeline.readings import FailureKind

if TYPE_CHECKING:
    from emm_pipeline.modbus.transport.history import ReplyHistory
    from emm_pipeline.readings import Request

_REQUEST = struct.Struct(">BBHH")
_LONGEST_FRAME = 256
_HEAD = 3
"""Bytes by which a reply is recognized: unit id, function code, byte count (or exception code)."""

_FRAMER = FramerRTU(DECODER)

SILENT_S = 0.004
"""Silence between two frames over TCP: 3.5 characters at 9600 baud. The converter keeps those of its serial line."""

MOST_NOISE = 4
"""Maximum number of bytes before a reply, other than the first one of a connection."""

ECHO = "the adapter sends each request back before the reply; these bytes are dropped"
NOISE = "a few other bytes come before the replies; they are dropped: check the line's termination and bias resistors"
BEFORE = "the gateway sent other bytes before its first reply; they are dropped"
SURPLUS = "surplus bytes come with the replies; they are dropped"
LATE = "a reply came after its timeout; it is dropped: set a longer timeout_s"
_CHECKSUM = "the checksum of the reply is wrong"
_CHECK_LINE = (
    "check the wiring (A and B, termination, shield), the baud rate and the parity, and whether two devices have the "
    "same unit id"
)


class RtuFraming:
    """Requests and replies as on a serial line."""

    has_ids = False

    def __init__(self, silent_s: float = SILENT_S) -> None:
        self.silent_s = silent_s

    def build(self, unit_id: int, request: Request) -> bytes:
        """Return the frame of a request."""
        return _FRAMER.buildFrame(request_pdu(unit_id, 0, request))

    def parse(self, sent: bytes, received: bytes, history: ReplyHistory) -> FramedReply | ReadError | None:
        """Find the reply to a request; see `Framing.parse`."""
        head = _head(sent, history)
        history.is_without_ids = True
        if len(received) < _HEAD:
            return None
        if not _begins(received, head):
            return _behind_other_bytes(received, head, history)
        size = _frame_size(received)
        if len(received) < size:
            return None
        frame, rest = received[:size], received[size:]
        if not has_right_crc(frame):
            raise _wrong_checksum()
        if history.was_just_taken(frame):
            reason = "the reply is equal to the one before, and has no id that tells whether it is a copy"
            raise ResendError(FailureKind.INVALID_REPLY, reason)
        return _reply(frame, rest)

    def strip(self, sent: bytes, received: bytes, history: ReplyHistory) -> tuple[bytes, tuple[str, ...]]:
        """Drop an echo and late replies; see `Framing.strip`."""
        notices: dict[str, None] = {}
        while True:
            if sent and received.startswith(sent):
                received = received[len(sent) :]
                notices[ECHO] = None
            elif size := _size_of_late_reply(sent, received, history):
                received = received[size:]
                notices[LATE] = None
            else:
                return received, tuple(notices)

    def explain(self, received: bytes) -> ReadError | None:
        """Return what these bytes are; see `Framing.explain`."""
        return recognized(received) or mbap_frame(received)


def _head(sent: bytes, history: ReplyHistory) -> bytes:
    """Return the bytes with which the reply to a request begins."""
    unit_id, function_code, _, count = _REQUEST.unpack_from(sent)
    return bytes([unit_id, function_code, history.reply_size or reply_size(count)])


def _begins(received: bytes, head: bytes) -> bool:
    """Whether the bytes begin like the reply with this head, or like an exception reply in its place."""
    is_exception = received[0] == head[0] and received[1] == head[1] | EXCEPTION_BIT
    return received.startswith(head) or is_exception


def _frame_size(received: bytes) -> int:
    return LEAST_FRAME if received[1] & EXCEPTION_BIT else _HEAD + received[2] + CRC_SIZE


def _reply(frame: bytes, rest: bytes, notices: tuple[str, ...] = ()) -> FramedReply:
    code = frame[2] if frame[1] & EXCEPTION_BIT else None
    registers = b"" if code is not None else frame[_HEAD:-CRC_SIZE]
    if rest:
        notices = (*notices, SURPLUS)
    return FramedReply(registers, code, frame, rest, notices, has_id=False, taints_link=bool(rest))


def _size_of_late_reply(sent: bytes, received: bytes, history: ReplyHistory) -> int:
    """Return the size of a late reply with which the bytes begin, and record it; 0 if there is none.

    A reply may look like the awaited one and belong to an earlier request: it must be verified.
    """
    if len(received) < LEAST_FRAME or len(received) < (size := _frame_size(received)):
        return 0
    is_exception = bool(received[1] & EXCEPTION_BIT)
    look = Look(received[0], received[1] & ~EXCEPTION_BIT, 0 if is_exception else received[2])
    unanswered = history.unanswered
    if sent and _begins(received, _head(sent, history)):
        return 0
    known = unanswered.count_exceptions(look) if is_exception else unanswered.count(look)
    if not known or not has_right_crc(received[:size]):
        return 0
    unanswered.remove(look)
    unanswered.note_lateness(look.unit_id)
    history.late.note(look.unit_id)
    return size


def _behind_other_bytes(received: bytes, head: bytes, history: ReplyHistory) -> FramedReply | ReadError:
    """Return the reply that follows other bytes, or the error if no reply follows.

    Any number of bytes may precede the first reply of a connection, and a few bytes of noise each other one.

    Raises:
        ReadError: It is the reply to another request; or the bytes are not Modbus, or of another transport; or there
            are too many bytes.
    """
    size = _frame_size(received)
    if len(received) >= size and has_right_crc(received[:size]):
        raise _of_another(received, head)
    most = MOST_NOISE if history.has_replied else len(received)
    for at in range(1, min(most, len(received) - LEAST_FRAME) + 1):
        behind = received[at:]
        if _begins(behind, head) and has_right_crc(behind[: _frame_size(behind)]):
            frame = behind[: _frame_size(behind)]
            return _reply(frame, behind[len(frame) :], (NOISE if history.has_replied else BEFORE,))
    if known := recognized(received) or mbap_frame(received):
        raise known
    if len(received) > _LONGEST_FRAME:
        raise _wrong_checksum()
    return _wrong_checksum()


def _of_another(received: bytes, head: bytes) -> ReadError:
    unit_id, function_code = received[0], received[1]
    if unit_id != head[0]:
        return ReadError(
            FailureKind.INVALID_REPLY,
            f"the reply has unit id {unit_id} instead of {head[0]}: the device answers as unit {unit_id}",
            advice=f"set the unit id (slave_address) to {unit_id}, if this is the device",
        )
    if function_code & ~EXCEPTION_BIT != head[1]:
        reason = f"the reply has function code {function_code & ~EXCEPTION_BIT} instead of {head[1]}"
    else:
        reason = f"the reply has byte count {received[2]} instead of {head[2]}"
    return ReadError(FailureKind.INVALID_REPLY, reason)


def _wrong_checksum() -> ReadError:
    return ReadError(FailureKind.INVALID_REPLY, _CHECKSUM, advice=_CHECK_LINE)
