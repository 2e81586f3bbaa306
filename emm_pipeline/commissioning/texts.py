"""Find a known text, such as the serial number that is printed on a device, in registers. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from emm_pipeline.fleet import WORD_BYTES, DataType, Order, Register
from emm_pipeline.modbus.labels import words_as_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from emm_pipeline.readings import Request

LABEL_PLACEHOLDER = "my_label"


class FoundText(NamedTuple):
    """A text in registers, and the row that reads it as a label, with a placeholder for the label's name."""

    row: Register
    text: str


def find_text(request: Request, words: Sequence[int], expected: str) -> Iterator[FoundText]:
    """Yield the texts in the words that begin with the expected one, up to their ends, in both orders of bytes."""
    expected = expected.strip()
    shortest = -(-len(expected.encode()) // request.register_bytes)
    for address in range(request.address, request.end):
        for byte_order in (Order.BIG_ENDIAN, Order.LITTLE_ENDIAN):
            found = _text(request, words, address, shortest, byte_order)
            if found and found.text.startswith(expected):
                while (longer := _text(request, words, address, (found.row.length or 0) + 1, byte_order)) and len(
                    longer.text
                ) > len(found.text):
                    found = longer
                yield found


def _text(request: Request, words: Sequence[int], address: int, length: int, byte_order: Order) -> FoundText | None:
    """Return the text in `length` registers; None if the request did not bring all of them."""
    row = Register(
        *(address, LABEL_PLACEHOLDER, None, DataType.STRING, request.function_code),
        byte_order=byte_order,
        length=length,
        register_bytes=request.register_bytes,
    )
    if not request.covers(row):
        return None
    first = (address - request.address) * request.register_bytes // WORD_BYTES
    return FoundText(row, words_as_text(words[first : first + row.words], row))
