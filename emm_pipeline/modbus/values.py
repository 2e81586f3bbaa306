"""A single raw value, for interpreting the words of an unknown device. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from emm_pipeline.fleet import FLOATS, DataType, FunctionCode, Order, Register
from emm_pipeline.modbus.raw_values import RawValues
from emm_pipeline.modbus.words import Words, word_columns

if TYPE_CHECKING:
    from collections.abc import Sequence


def decode_raw(words: Sequence[int], data_type: DataType, word_order: Order, byte_order: Order) -> int | float:
    """Return the raw value in the words of one value: an int, or a float that may be infinite or NaN.

    NaN also for words that no value of the type has, such as decimal digits above 9.
    """
    register = Register(0, "", None, data_type, FunctionCode.READ_HOLDING_REGISTERS, word_order, byte_order)
    raw = RawValues(register, word_columns(register, 0))
    there = Words(np.array(words, dtype=">u2").tobytes(), 1)
    number: int | float = raw.numbers(raw.of(there))[0].item()
    return number if data_type in FLOATS or not math.isfinite(number) else int(number)
