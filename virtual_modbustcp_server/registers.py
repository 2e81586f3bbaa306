"""Typed values as Modbus registers, and the registers that a server serves (pure).

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
    """An integer code of the configuration database; an unknown one is refused with those there are."""

    @classmethod
    def _missing_(cls, value: object) -> None:
        allowed = ", ".join(f"{each.value} {each.name}" for each in cls)
        raise ValueError(f"{value!r} is no {cls.__name__}; allowed are {allowed}")


class DataType(_Code):
    """How a value is coded in one (16 bit), two (32 bit) or four (64 bit) registers."""

    INT = 1
    LONG = 2
    FLOAT = 3
    UINT16 = 4
    UINT32 = 5
    INT64 = 6
    UINT64 = 7
    FLOAT64 = 8


class Order(_Code):
    """Order of the bytes in a register, or of the registers in a value."""

    LITTLE_ENDIAN = 1
    BIG_ENDIAN = 2


class FunctionCode(_Code):
    """The Modbus functions that read registers; each has an address space of its own."""

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

    None is "no value": NaN in a float, 0x8000… in a signed and 0xFFFF… in an unsigned integer, as in SunSpec.

    Raises:
        TypeError: `value` is no number.
        ValueError: `value` is not finite, out of the type's range, or not whole where the type is an integer.
    """
    if value is None:
        data = _no_value(data_type)
    elif not isinstance(value, Real):
        raise TypeError(f"{value!r} is no number")
    elif not isinstance(value, Integral) and not math.isfinite(value):
        raise ValueError(f"{value} is not finite; write None where there is no value")
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
        raise ValueError(f"{value} is out of range: {data_type.name} takes -{highest} to {highest}") from err


def _pack_integer(value: float, data_type: DataType) -> bytes:
    number = int(value)
    if number != value:
        raise ValueError(f"{value} is no whole number: round it, or use FLOAT instead of {data_type.name}")
    bits = 8 * struct.calcsize(_FORMATS[data_type])
    lowest = -(1 << (bits - 1)) if data_type in _SIGNED else 0
    highest = lowest + (1 << bits) - 1
    if not lowest <= number <= highest:
        raise ValueError(f"{number} is out of range: {data_type.name} takes {lowest} to {highest}")
    return struct.pack(_FORMATS[data_type], number)


class Registers:
    """The registers of any number of units, written by one update.

    Only what was written is there. One address is written by one value only: values that overlap
    (a FLOAT takes two registers) are a mistake in the address map and are refused.
    """

    def __init__(self) -> None:
        self._words: dict[tuple[int, int], dict[int, int]] = {}
        self._values: dict[tuple[int, int, int], tuple[int, int]] = {}

    def write(self, unit_id: int, function_code: int, address: int, words: tuple[int, ...]) -> None:
        """Write the registers of one value, beginning at `address`; the same value may be written again.

        Raises:
            ValueError: a unit id, function code or address out of range, or an overlap with another value.
        """
        if not 0 <= unit_id <= LAST_UNIT_ID:
            raise ValueError(f"unit id {unit_id} is not from 0 to {LAST_UNIT_ID}")
        space = (unit_id, FunctionCode(function_code))
        value = (address, len(words))
        if not 0 <= address <= LAST_ADDRESS + 1 - len(words):
            raise ValueError(f"{len(words)} register(s) do not fit between addresses 0 and {LAST_ADDRESS}")
        for offset in range(len(words)):
            other = self._values.get((*space, address + offset), value)
            if other != value:
                raise ValueError(f"overlaps the value in registers {other[0]} to {sum(other) - 1}")
        for offset, word in enumerate(words):
            self._values[*space, address + offset] = value
            self._words.setdefault(space, {})[address + offset] = word

    def has_unit(self, unit_id: int) -> bool:
        """Whether anything was written for this unit."""
        return any((unit_id, code) in self._words for code in FunctionCode)

    def read(self, unit_id: int, function_code: int, address: int, count: int) -> list[int] | None:
        """Return `count` registers, or None if any of them was not written."""
        words = self._words.get((unit_id, function_code), {})
        try:
            return [words[each] for each in range(address, address + count)]
        except KeyError:
            return None
