"""Decode registers: raw values in all types and orders, and their conversion to scaled values (pure)."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from emm_pipeline.fleet import DataType, FunctionCode, Order, Register, scale_factor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_KINDS: dict[DataType, str] = {
    DataType.INT: "i2",
    DataType.LONG: "i4",
    DataType.FLOAT: "f4",
    DataType.UINT16: "u2",
    DataType.UINT32: "u4",
    DataType.INT64: "i8",
    DataType.UINT64: "u8",
    DataType.FLOAT64: "f8",
}

HIGHEST_POWER = 10
"""SunSpec's scale factors are -10 to 10; any other value, such as -32768, means that there is no value."""


class Words:
    """The registers of meters whose replies have the same layout, one meter after the other, as received."""

    def __init__(self, data: bytes, meters: int) -> None:
        self._wire = np.frombuffer(data, dtype=np.uint16)
        self._meters = meters
        self._stride = len(data) // meters

    @cached_property
    def _swapped(self) -> NDArray[np.uint16]:
        """The same registers with their two bytes swapped."""
        return self._wire.byteswap()

    def raw(self, column: int, like: Register) -> NDArray[Any]:
        """Return the meters' raw values that begin at register `column`, with type and orders of `like`, as a view.

        If words and bytes have the same order, the received bytes already are a number in that order; otherwise they
        are one after the bytes of each register are swapped.
        """
        words = self._wire if like.word_order is like.byte_order else self._swapped
        order = ">" if like.word_order is Order.BIG_ENDIAN else "<"
        dtype = np.dtype(order + _KINDS[like.data_type])
        return np.ndarray((self._meters,), dtype, words.data, offset=2 * column, strides=(self._stride,))


def decode_raw(words: Sequence[int], data_type: DataType, word_order: Order, byte_order: Order) -> int | float:
    """Return the raw value of registers: an int, or a float that may be infinite or NaN."""
    like = Register(0, "", None, data_type, FunctionCode.READ_HOLDING_REGISTERS, word_order, byte_order)
    number: int | float = _one(words, like)[0].item()
    return number


def decode_value(words: Sequence[int], register: Register, power: Sequence[int] = ()) -> float | None:
    """Return the value that a poll decodes from registers; None if a poll would omit it.

    `power` is the content of the scale register, if there is one.
    """
    raw = _one(words, register)
    values = raw.astype(np.float64)
    Scaling([register]).apply(values[:, np.newaxis])
    if register.scale_register is not None:
        if not power:
            return None
        values = times_power_of_ten(values, _one(power, scale_factor(register)))
    value = float(values[0])
    return value if math.isfinite(value) and raw[0] != invalid_raw(register) else None


def _one(words: Sequence[int], like: Register) -> NDArray[Any]:
    return Words(np.array(words, dtype=">u2").tobytes(), 1).raw(0, like)


def invalid_raw(register: Register) -> Any:
    """Return the raw value that means "no value", in the register's data type; None if there is none.

    A negative value of a signed type may be given as its bit pattern, as in manuals: 65535 for -1.
    """
    value = register.invalid_value
    if value is None:
        return None
    dtype = np.dtype(_KINDS[register.data_type])
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return np.array(value, dtype=float).astype(dtype)[()]
    patterns = 1 << 8 * dtype.itemsize
    lowest = -patterns // 2 if dtype.kind == "i" else 0
    if not lowest <= value < patterns or value != int(value):
        return None
    return np.array(int(value) % patterns, dtype=f"u{dtype.itemsize}").view(dtype)[()]


class Scaling:
    """The scales of registers, from raw values to values."""

    def __init__(self, registers: Sequence[Register]) -> None:
        pairs = np.array([_factor_and_divisor(register.scale) for register in registers]).reshape(-1, 2)
        self._factors, self._divisors = pairs.T
        self._has_factors, self._has_divisors = (pairs != 1).any(axis=0)

    def apply(self, values: NDArray[np.float64]) -> None:
        """Scale raw values, shape (meters, registers), in place. Values that are too large become infinite."""
        with np.errstate(all="ignore"):
            if self._has_factors:
                values *= self._factors
            if self._has_divisors:
                values /= self._divisors


def _factor_and_divisor(scale: float) -> tuple[float, float]:
    """Return factor and divisor for a scale: 2314 / 10 is 231.4, but 2314 * 0.1 is 231.40000000000003."""
    if scale and math.isfinite(1 / scale):
        divisor = float(round(1 / scale))
        if divisor and abs(1 / divisor - scale) <= math.ulp(scale):
            return 1.0, divisor
    return scale, 1.0


def times_power_of_ten(values: NDArray[np.float64], powers: NDArray[np.int16]) -> NDArray[np.float64]:
    """Multiply or divide by a power of ten, since no float is exactly 0.1; an invalid power gives NaN."""
    exponents = powers.astype(float)
    exponents[abs(exponents) > HIGHEST_POWER] = np.nan
    with np.errstate(all="ignore"):
        scaled: NDArray[np.float64] = np.where(exponents < 0, values / 10.0**-exponents, values * 10.0**exponents)
    return scaled
