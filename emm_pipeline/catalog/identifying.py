"""The grammar of a catalogue file's `identify` lines (pure).

    function_code register_address data_type [word_order byte_order] = value
    function_code register_address data_type [word_order byte_order] = low..high
    function_code register_address data_type [word_order byte_order] in low..high

`=` is for a code that only this device type has, `in` for a range of plausible values. The codes of types and orders
are those of the table `registers`; both orders are big endian if they are left out. Values are raw, before scaling.
"""

from __future__ import annotations

import re

from emm_pipeline.catalog.records import Identification
from emm_pipeline.fleet import DataType, FunctionCode, Order, Register

_NUMBER = r"(-?\d+(?:\.\d+)?)"
_LINE = re.compile(rf"(\d+) (\d+) (\d+)(?: (\d+) (\d+))? (=|in) {_NUMBER}(?:\.\.{_NUMBER})?")


def parse_identification(text: str) -> Identification:
    """Return the identification that a line describes.

    Raises:
        ValueError: The line does not match the grammar. The message continues a sentence that begins with "identify".
    """
    found = _LINE.fullmatch(text)
    if not found:
        raise ValueError(
            f"is {text!r}; allowed: function_code register_address data_type [word_order byte_order], "
            "then = value, = low..high, or in low..high"
        )
    function_code, address, data_type, word_order, byte_order, relation, low, high = found.groups()
    register = Register(
        *(int(address), "identification", None, DataType(int(data_type)), FunctionCode(int(function_code))),
        word_order=Order(int(word_order or Order.BIG_ENDIAN)),
        byte_order=Order(int(byte_order or Order.BIG_ENDIAN)),
    )
    limits = float(low), float(low if high is None else high)
    if limits[0] > limits[1]:
        raise ValueError(f"has the range {limits[0]:g} to {limits[1]:g}, whose limits are in the wrong order")
    return Identification(register, *limits, strong=relation == "=")
