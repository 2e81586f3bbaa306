"""Encoding of typed values into Modbus registers, and the registers of one update (pure).

The integer codes are those of EMM's table `registers`.
"""

from __future__ import annotations

import math
import struct
from enum import IntEnum
from numbers import Integral, Real

LAST_ADDRESS = 65535
LAST_UNIT_ID = 255


class _Code(IntEnum):
    """An integer code of the configuration database; the error for an unknown code lists the allowed ones."""

    @classmethod
    def _missing_(cls, value: object) -> None:
        allowed = ", ".join(f"{each.value} {each.name}" for each in cls)
        raise ValueError(f"{value!r} is not a {cls.__name__}; allowed: {allowed}")


class DataType(_Code):
    """Encoding of a value in one (16 bit), two (32 bit) or four (64 bit) registers."""

    INT = 1
    LONG = 2
    FLOAT = 3
    UINT16 = 4
    UINT32 = 5
    INT64 = 6
    UINT64 = 7
    FLOAT64 = 8


class Order(_Code):
    """Order of the bytes in a register, or of the registers of a value."""

    LITTLE_ENDIAN = 1
    BIG_ENDIAN = 2


class FunctionCode(_Code):
    """The Modbus functions that read registers. Each has its own address space."""

    READ_HOLDING_REGISTERS = 3
    READ_INPUT_REGISTERS = 4


_FORMATS = {
    DataType.INT: ">h",
    DataType.LONG: ">i",
    DataType.FLOAT: ">f",
    DataType.UINT16: ">H",
    DataType.UINT32: ">I",
    DataType.INT64: ">q",
    DataType.UINT64: ">Q",
    DataType.FLOAT64: ">d",
}
_FLOATS = {DataType.FLOAT, DataType.FLOAT64}
_SIGNED = {DataType.INT, DataType.LONG, DataType.INT64}


def encode(
    value: float | None,
    data_type: DataType,
    word_order: Order = Order.BIG_ENDIAN,
    byte_order: Order = Order.BIG_ENDIAN,
) -> tuple[int, ...]:
    """Return the registers, each from 0 to 65535, that hold `value` in the given type and orders.

    None means "no value". As in SunSpec, it is NaN in a float, 0x8000… in a signed integer and 0xFFFF… in an
    unsigned integer.

    Raises:
        TypeError: `value` is not a number.
        ValueError: `value` is not finite, or is out of the type's range, or is not a whole number although the type
            is an integer.
    """
    if value is None:
        data = _no_value(data_type)
    elif not isinstance(value, Real):
        raise TypeError(f"{value!r} is not a number")
    elif not isinstance(value, Integral) and not math.isfinite(value):
        raise ValueError(f"{value} is not finite; write None if there is no value")
    elif data_type in _FLOATS:
        data = _pack_float(value, data_type)
    else:
        data = _pack_integer(value, data_type)
    words = [data[start : start + 2] for start in range(0, len(data), 2)]
    if word_order is Order.LITTLE_ENDIAN:
        words.reverse()
    return tuple(int.from_bytes(word, "big" if byte_order is Order.BIG_ENDIAN else "little") for word in words)


def _no_value(data_type: DataType) -> bytes:
    if data_type in _FLOATS:
        return struct.pack(_FORMATS[data_type], math.nan)
    size = struct.calcsize(_FORMATS[data_type])
    return b"\x80" + bytes(size - 1) if data_type in _SIGNED else b"\xff" * size


def _pack_float(value: float, data_type: DataType) -> bytes:
    try:
        return struct.pack(_FORMATS[data_type], float(value))
    except OverflowError as err:
        highest = "3.4028235e+38" if data_type is DataType.FLOAT else "1.7976931e+308"
        raise ValueError(f"{value} is out of range: {data_type.name} holds -{highest} to {highest}") from err


def _pack_integer(value: float, data_type: DataType) -> bytes:
    number = int(value)
    if number != value:
        raise ValueError(f"{value} is not a whole number: round it, or use FLOAT instead of {data_type.name}")
    bits = 8 * struct.calcsize(_FORMATS[data_type])
    lowest = -(1 << (bits - 1)) if data_type in _SIGNED else 0
    highest = lowest + (1 << bits) - 1
    if not lowest <= number <= highest:
        raise ValueError(f"{number} is out of range: {data_type.name} holds {lowest} to {highest}")
    return struct.pack(_FORMATS[data_type], number)


class Registers:
    """The registers of any number of units, as one update has written them.

    Only registers that were written exist. Values must not overlap (a FLOAT occupies two registers): an overlap is a
    mistake in the address map and raises an error.
    """

    def __init__(self) -> None:
        self._words: dict[tuple[int, int], dict[int, int]] = {}
        self._values: dict[tuple[int, int, int], tuple[int, int]] = {}

    def write(self, unit_id: int, function_code: int, address: int, words: tuple[int, ...]) -> None:
        """Write the registers of one value, starting at `address`. The same value may be written again.

        Raises:
            ValueError: The unit id, function code or address is out of range, or another value overlaps.
        """
        if not 0 <= unit_id <= LAST_UNIT_ID:
            raise ValueError(f"unit id {unit_id} is out of range: allowed are 0 to {LAST_UNIT_ID}")
        space = (unit_id, FunctionCode(function_code))
        value = (address, len(words))
        if not 0 <= address <= LAST_ADDRESS + 1 - len(words):
            plural = "s" if len(words) > 1 else ""
            raise ValueError(
                f"a value of {len(words)} register{plural} does not fit into addresses 0 to {LAST_ADDRESS}"
            )
        for offset in range(len(words)):
            other = self._values.get((*space, address + offset), value)
            if other != value:
                raise ValueError(f"overlaps the value in registers {other[0]} to {sum(other) - 1}")
        for offset, word in enumerate(words):
            self._values[*space, address + offset] = value
            self._words.setdefault(space, {})[address + offset] = word

    def has_unit(self, unit_id: int) -> bool:
        """Whether any register of this unit was written."""
        return any((unit_id, code) in self._words for code in FunctionCode)

    def read(self, unit_id: int, function_code: int, address: int, count: int) -> list[int] | None:
        """Return `count` registers, or None if any of them was not written."""
        words = self._words.get((unit_id, function_code), {})
        try:
            return [words[each] for each in range(address, address + count)]
        except KeyError:
            return None
