"""Find the raw values which mean that there is no reading. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from emm_pipeline.fleet import DataType

if TYPE_CHECKING:
    from emm_pipeline.fleet import Register

_SIGNED = {DataType.INT: 16, DataType.LONG: 32, DataType.INT64: 64, DataType.INT48: 48}
"""Number of bits of the types whose negative numbers are two's complements."""

_BITS = {DataType.UINT24: 24}
"""The bits of the types that do not fill their words."""


def no_value_patterns(register: Register) -> tuple[int, ...]:
    """Return the bit patterns of the register's words which mean "no reading", as unsigned integers. Not for floats.

    Like manuals, the table may give a negative value of a signed type as its bit pattern: 65535 for -1. For types that
    are not plain integers (sign and magnitude, decimal digits) it always gives the bit pattern.
    """
    bits = _BITS.get(register.data_type, 16 * register.words)
    lowest = -(1 << bits - 1) if register.data_type in _SIGNED else 0
    given = [register.invalid_value, *register.invalid_values]
    return tuple(
        int(value) % (1 << bits)
        for value in given
        if value is not None and lowest <= value < 1 << bits and value == int(value)
    )


def no_value_numbers(register: Register, dtype: np.dtype[Any]) -> tuple[Any, ...]:
    """Return these bit patterns as numbers of the NumPy type of the register's raw values."""
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            given = [register.invalid_value, *register.invalid_values]
            return tuple(np.array(value, dtype=float).astype(dtype)[()] for value in given if value is not None)
    unsigned = np.dtype(f"u{dtype.itemsize}")
    return tuple(np.array(pattern, unsigned).view(dtype)[()] for pattern in no_value_patterns(register))
