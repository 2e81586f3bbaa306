"""Requests as pymodbus's records, which its framers convert to bytes."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from pymodbus.framer import FramerSocket
from pymodbus.pdu import DecodePDU, ModbusPDU
from pymodbus.pdu.bit_message import ReadCoilsRequest, ReadDiscreteInputsRequest
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest

from emm_pipeline.fleet import FunctionCode

if TYPE_CHECKING:
    from emm_pipeline.readings import Request

DECODER = DecodePDU(is_server=False)
"""The decoder that pymodbus's framers need."""

_TCP_FRAMER = FramerSocket(DECODER)

EXCEPTION_BIT = 0x80

_REQUESTS: dict[FunctionCode, type[ModbusPDU]] = {
    FunctionCode.READ_COILS: ReadCoilsRequest,
    FunctionCode.READ_DISCRETE_INPUTS: ReadDiscreteInputsRequest,
    FunctionCode.READ_HOLDING_REGISTERS: ReadHoldingRegistersRequest,
    FunctionCode.READ_INPUT_REGISTERS: ReadInputRegistersRequest,
}


def request_pdu(unit_id: int, transaction_id: int, request: Request) -> ModbusPDU:
    """Return the request as pymodbus's record."""
    kind = _REQUESTS[request.function_code]
    return kind(dev_id=unit_id, transaction_id=transaction_id, address=request.address, count=request.count)


@lru_cache(maxsize=1000)
def behind_id(unit_id: int, request: Request) -> bytes:
    """Return the frame of a request in Modbus TCP behind the transaction id, which are its first two bytes."""
    frame: bytes = _TCP_FRAMER.buildFrame(request_pdu(unit_id, 0, request))
    return frame[2:]


def reply_size(count: int) -> int:
    """Return the number of data bytes in the reply to a request for this number of two-byte registers."""
    return 2 * count


def bits_as_words(data: bytes, count: int) -> bytes:
    """Return a big-endian word, 0 or 1, for each of the first `count` bits; the lowest bit of a byte is the first."""
    bits = int.from_bytes(data, "little")
    return b"".join(b"\0\1" if bits >> place & 1 else b"\0\0" for place in range(count))
