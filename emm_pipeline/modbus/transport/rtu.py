"""RTU's framing (Modbus over Serial Line 1.02, section 2.5.1): unit, function, data, and a checksum.

A frame has no transaction id. A reply is matched to its request by unit, function and byte count, and by the order of
arrival; `history` recognizes copies and late replies.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from pymodbus.framer import FramerRTU

from emm_pipeline.modbus.transport.base import FramedReply, ReadError, ResendError
from emm_pipeline.modbus.transport.crc import CRC_SIZE, LEAST_FRAME, has_right_crc
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

    def __init__(self, silent_s: float = SILENT_S) -> None:
        self.silent_s = silent_s

    def build(self, unit_id: int, request: Request) -> bytes:
        """Return the frame of a request."""
        return _FRAMER.buildFrame(request_pdu(unit_id, 0, request))

    def parse(self, sent: bytes, received: bytes, history: ReplyHistory) -> FramedReply | ReadError | None:
        """Find the reply to a request; see `Framing.parse`."""
        unit_id, function_code, _, count = _REQUEST.unpack_from(sent)
        head = bytes([unit_id, function_code, history.reply_size or reply_size(count)])
        history.is_without_ids = True
        received, notices = _without_late_replies(received, head, history)
        if len(received) < _HEAD:
            return None
        if not _begins(received, head):
            return _behind_other_bytes(received, head, history, notices)
        size = _frame_size(received)
        if len(received) < size:
            return None
        frame, rest = received[:size], received[size:]
        if not has_right_crc(frame):
            raise _wrong_checksum()
        if history.was_just_taken(frame):
            reason = "the reply is equal to the one before, and has no id that tells whether it is a copy"
            raise ResendError(FailureKind.INVALID_REPLY, reason)
        return _reply(frame, rest, notices)

    def explain(self, received: bytes) -> ReadError | None:
        """Return what these bytes are; see `Framing.explain`."""
        return recognized(received) or mbap_frame(received)


def _begins(received: bytes, head: bytes) -> bool:
    """Whether the bytes begin like a reply, or like an exception reply."""
    is_exception = received[0] == head[0] and received[1] == head[1] | EXCEPTION_BIT
    return received.startswith(head) or is_exception


def _frame_size(received: bytes) -> int:
    return LEAST_FRAME if received[1] & EXCEPTION_BIT else _HEAD + received[2] + CRC_SIZE


def _reply(frame: bytes, rest: bytes, notices: tuple[str, ...]) -> FramedReply:
    code = frame[2] if frame[1] & EXCEPTION_BIT else None
    registers = b"" if code is not None else frame[_HEAD:-CRC_SIZE]
    if rest:
        notices = (*notices, SURPLUS)
    return FramedReply(registers, code, frame, rest, notices, taints_link=bool(rest))


def _without_late_replies(received: bytes, head: bytes, history: ReplyHistory) -> tuple[bytes, tuple[str, ...]]:
    """Drop complete late replies at the beginning of the bytes, of units that did not reply in time."""
    notices: tuple[str, ...] = ()
    while len(received) >= LEAST_FRAME and not _begins(received, head) and history.may_come_late(received[0]):
        size = _frame_size(received)
        if not has_right_crc(received[:size]) or len(received) < size:
            break
        received, notices = received[size:], (LATE,)
    return received, notices


def _behind_other_bytes(
    received: bytes, head: bytes, history: ReplyHistory, notices: tuple[str, ...]
) -> FramedReply | ReadError:
    """Return the reply that follows other bytes on a new connection, or the error if no reply follows.

    Raises:
        ReadError: It is the reply to another request; or the bytes are not Modbus, or of another transport; or there
            are too many bytes.
    """
    size = _frame_size(received)
    if len(received) >= size and has_right_crc(received[:size]):
        raise _of_another(received, head)
    if not history.has_replied:
        for at in range(1, len(received) - LEAST_FRAME + 1):
            behind = received[at:]
            if _begins(behind, head) and has_right_crc(behind[: _frame_size(behind)]):
                frame = behind[: _frame_size(behind)]
                return _reply(frame, behind[len(frame) :], (*notices, BEFORE))
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
