"""Requests as pymodbus's records, of which its framers make bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymodbus.pdu import DecodePDU
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest

from emm_pipeline.fleet import FunctionCode

if TYPE_CHECKING:
    from emm_pipeline.readings import Request

DECODER = DecodePDU(is_server=False)
"""What pymodbus's framers want."""

EXCEPTION_BIT = 0x80

_REQUESTS = {
    FunctionCode.READ_HOLDING_REGISTERS: ReadHoldingRegistersRequest,
    FunctionCode.READ_INPUT_REGISTERS: ReadInputRegistersRequest,
}


def request_pdu(
    unit_id: int, transaction_id: int, request: Request
) -> ReadHoldingRegistersRequest | ReadInputRegistersRequest:
    """Return the request as pymodbus has it."""
    return _REQUESTS[request.function_code](unit_id, transaction_id, request.address, request.count)


def reply_size(count: int) -> int:
    """How many bytes of data the reply to a request for so many registers has."""
    return 2 * count
