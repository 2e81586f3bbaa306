"""The row of the table `registers` for an interpretation, checked with the decoder of polls. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from emm_pipeline.fleet import WORD_BYTES, Register
from emm_pipeline.modbus.decoding import decode_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from emm_pipeline.commissioning.fitting import Fit
    from emm_pipeline.readings import Request

NAME_PLACEHOLDER = "my_measurement"
UNIT_PLACEHOLDER = "my_unit"


def row_of(request: Request, fit: Fit) -> Register:
    """Return the fit as a register of the fleet, with placeholders for its name and unit."""
    found = fit.interpretation
    return Register(
        request.address_of(found.offset),
        NAME_PLACEHOLDER,
        UNIT_PLACEHOLDER,
        found.data_type,
        request.function_code,
        found.layout.word_order,
        found.layout.byte_order,
        fit.scale,
        value_offset=fit.value_offset,
        register_bytes=request.register_bytes,
        **fit.columns,  # type: ignore[arg-type]  # names and types of the record's fields
    )


def gives(  # noqa: PLR0913, PLR0917 - registers, and what their row makes of them
    row: Register, value: float, request: Request, words: Sequence[int], companion: Sequence[int], factor: float
) -> bool:
    """Whether a poll with this row decodes the value from the words; not if registers of four bytes begin elsewhere.

    Args:
        row: The row.
        value: The value.
        request: The request that brought the words.
        words: The content of the registers.
        companion: The content of a companion that is not among these registers.
        factor: The meter's factor.
    """

    def content(register: Register) -> Sequence[int]:
        first, behind = (
            (address - request.address) * request.register_bytes // WORD_BYTES
            for address in (register.register_address, register.end)
        )
        return words[first:behind] if first >= 0 and behind <= len(words) else companion

    decoded = decode_value(content(row), row, [content(each) for each in row.companions], factor)
    return decoded is not None and math.isclose(decoded, value, rel_tol=1e-9)
