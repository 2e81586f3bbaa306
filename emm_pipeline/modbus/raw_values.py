"""Raw values: the words of a register as numbers, in every data type. Pure, and vectorised.

The plain types of 16, 32 and 64 bits are views of the words. All others, and masked values, are assembled from bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from emm_pipeline.fleet import WORD_BYTES, DataType
from emm_pipeline.modbus.no_value import no_value_numbers, no_value_patterns
from emm_pipeline.modbus.words import ViewPlace, Words, are_neighbours, width_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from emm_pipeline.fleet import Register

KINDS: dict[DataType, str] = {
    DataType.INT: "i2",
    DataType.LONG: "i4",
    DataType.FLOAT: "f4",
    DataType.UINT16: "u2",
    DataType.UINT32: "u4",
    DataType.INT64: "i8",
    DataType.UINT64: "u8",
    DataType.FLOAT64: "f8",
}
"""The types whose raw values are a type of NumPy."""


_EXACT_AS_FLOATS = frozenset({"i2", "i4", "u2", "u4", "f4", "f8"})
"""The kinds whose numbers are exact as floats of 64 bits, which are faster to compare."""


class RawValues:
    """The extraction of a register's raw values from words.

    `columns` are the columns of all its words, the most significant first.
    """

    def __init__(self, register: Register, columns: Sequence[int]) -> None:
        self._register = register
        self._columns = columns
        self._kind = KINDS.get(register.data_type)
        self._is_float = self._kind is not None and self._kind.startswith("f")
        unsigned = np.dtype(f"u{WORD_BYTES * width_of(columns)}")
        if register.mask:
            self._mask, self._shift = (
                unsigned.type(number) for number in (register.mask, (register.mask & -register.mask).bit_length() - 1)
            )
        self._bits: ViewPlace | None = None
        """Where the bits are, if they are neighbouring words."""
        if unsigned.itemsize == WORD_BYTES * len(columns) and are_neighbours(columns):
            self._bits = ViewPlace.of(columns, unsigned.str[1:], register.byte_order)
        self.place: ViewPlace | None = None
        """Where the numbers are, if they are views of the words."""
        if self._kind is not None and register.mask is None and are_neighbours(columns):
            self.place = ViewPlace.of(columns, self._kind, register.byte_order)
        self._nothing: tuple[Any, ...]
        if self._kind is not None and (self.place or self._is_float):
            self._nothing = no_value_numbers(register, np.dtype(self._kind))
        else:
            self._nothing = no_value_patterns(register)
        self._nothing_as_floats = (
            tuple(float(each) for each in self._nothing) if self.place and self._kind in _EXACT_AS_FLOATS else None
        )

    def of(self, words: Words) -> NDArray[Any]:
        """Return the content of the words: a number for each meter, or its bits as an unsigned integer."""
        if self.place:
            return words.view(self.place)
        place, register = self._bits, self._register
        bits = words.view(place) if place else words.gathered(self._columns, register.byte_order)
        bits = bits.astype(bits.dtype.newbyteorder("="))  # later steps are faster in this machine's byte order
        return bits.view(self._kind) if self._kind and self._is_float else bits

    def clear_absent(self, words: Words, numbers: NDArray[np.float64]) -> None:
        """Write NaN into `numbers`, the raw values in the words as floats, in place of those that mean "no reading"."""
        if self._nothing_as_floats is None:
            raws = self.of(words)
            found = [raws == nothing for nothing in self._nothing]
        else:
            found = [numbers == nothing for nothing in self._nothing_as_floats]
        for absent in found:
            if absent.any():
                numbers[absent] = np.nan

    @property
    def has_absent(self) -> bool:
        """Whether a raw value means that there is no reading."""
        return bool(self._nothing)

    def numbers(self, raws: NDArray[Any]) -> NDArray[Any]:
        """Return the raw values as numbers; NaN for those that are invalid in the register's type (a digit above 9)."""
        if self.place or self._is_float:
            return raws
        if self._register.mask is not None:
            raws = (raws & self._mask) >> self._shift
        if self._kind:
            return raws.view(self._kind)
        return _OTHERS[self._register.data_type](raws)


def _bool(bits: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(bits != 0)


def _sign_magnitude(bits: NDArray[Any]) -> NDArray[Any]:
    magnitude = (bits & 0x7FFF).astype(np.float64)
    return np.where(bits & 0x8000, -magnitude, magnitude) + 0.0  # no negative zero


def _uint24(bits: NDArray[Any]) -> NDArray[Any]:
    return bits & 0xFF_FFFF


def _uint48(bits: NDArray[Any]) -> NDArray[Any]:
    return bits


def _int48(bits: NDArray[Any]) -> NDArray[Any]:
    signed = bits.astype(np.int64)
    return np.where(signed >> 47, signed - (1 << 48), signed)


def _decimal_digits(bits: NDArray[Any], digits: int) -> NDArray[Any]:
    number = np.zeros(bits.shape)
    valid = np.ones(bits.shape, bool)
    for place in range(digits):
        digit = bits >> bits.dtype.type(4 * place) & bits.dtype.type(0xF)
        valid &= digit <= 9  # noqa: PLR2004 - the highest digit
        number += digit * 10.0**place
    return np.where(valid, number, np.nan)


def _bcd4(bits: NDArray[Any]) -> NDArray[Any]:
    return _decimal_digits(bits, 4)


def _bcd8(bits: NDArray[Any]) -> NDArray[Any]:
    return _decimal_digits(bits, 8)


def _modulo_10000(bits: NDArray[Any]) -> NDArray[Any]:
    high, low = bits >> 16, bits & 0xFFFF
    return np.where((high < 10_000) & (low < 10_000), high * 10_000.0 + low, np.nan)  # noqa: PLR2004 - four digits


_OTHERS: dict[DataType, Callable[[NDArray[Any]], NDArray[Any]]] = {
    DataType.BOOL: _bool,
    DataType.SIGN_MAGNITUDE: _sign_magnitude,
    DataType.UINT24: _uint24,
    DataType.UINT48: _uint48,
    DataType.INT48: _int48,
    DataType.BCD4: _bcd4,
    DataType.BCD8: _bcd8,
    DataType.MODULO_10000: _modulo_10000,
}
