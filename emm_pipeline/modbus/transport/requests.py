"""Requests as objects of pymodbus, which its framers turn into bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymodbus.pdu import DecodePDU, ModbusPDU
from pymodbus.pdu.bit_message import ReadCoilsRequest, ReadDiscreteInputsRequest
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest

from emm_pipeline.fleet import FunctionCode

if TYPE_CHECKING:
    from emm_pipeline.readings import Request

DECODER = DecodePDU(is_server=False)
"""The decoder that pymodbus's framers need."""

EXCEPTION_BIT = 0x80

_REQUESTS: dict[FunctionCode, type[ModbusPDU]] = {
    FunctionCode.READ_COILS: ReadCoilsRequest,
    FunctionCode.READ_DISCRETE_INPUTS: ReadDiscreteInputsRequest,
    FunctionCode.READ_HOLDING_REGISTERS: ReadHoldingRegistersRequest,
    FunctionCode.READ_INPUT_REGISTERS: ReadInputRegistersRequest,
}


def request_pdu(unit_id: int, transaction_id: int, request: Request) -> ModbusPDU:
    """Return the request as an object of pymodbus."""
    kind = _REQUESTS[request.function_code]
    return kind(dev_id=unit_id, transaction_id=transaction_id, address=request.address, count=request.count)


def reply_size(count: int) -> int:
    """Return the bytes of data in the reply to a request for so many registers of two bytes."""
    return 2 * count
