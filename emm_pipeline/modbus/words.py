"""Words of replies, many meters at once: numbers as views of them, and bits gathered from several places. Pure."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from emm_pipeline.fleet import WORD_BYTES, Order, Register

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_WIDTHS = (1, 2, 4, 4)
"""Words of the smallest unsigned integer that holds one, two, three, four words."""


class ViewPlace(NamedTuple):
    """Where to find numbers in the words of a meter: their NumPy type, and their offset in bytes."""

    dtype: np.dtype[Any]
    offset: int
    is_swapped: bool
    """Whether the bytes of each word have to be swapped first."""

    @classmethod
    def of(cls, columns: Sequence[int], kind: str, byte_order: Order) -> ViewPlace:
        """Return the place of numbers of a NumPy kind, such as `i4`, in neighbouring words.

        If words and bytes have the same order, the bytes on the wire are a number in this order. Otherwise they are one
        after the bytes of each word were swapped.

        Args:
            columns: The columns of the words, the most significant first.
            kind: A kind with the size of the words.
            byte_order: The order of the bytes in each word.
        """
        rising = columns[-1] > columns[0] if len(columns) > 1 else byte_order is Order.BIG_ENDIAN
        is_swapped = rising is not (byte_order is Order.BIG_ENDIAN)
        return cls(np.dtype((">" if rising else "<") + kind), WORD_BYTES * min(columns), is_swapped)

    def follows(self, other: ViewPlace) -> bool:
        """Whether these numbers are of the same kind as others, and right behind them."""
        return self == (other.dtype, other.offset + other.dtype.itemsize, other.is_swapped)


class Words:
    """The words of meters whose replies have the same layout, meter after meter, as on the wire."""

    def __init__(self, data: bytes, meters: int) -> None:
        self._wire = np.frombuffer(data, dtype=np.uint16)
        self._shape = (meters,)
        self._strides = (len(data) // meters,)

    @cached_property
    def _swapped(self) -> NDArray[np.uint16]:
        """The words with the two bytes of each swapped."""
        return self._wire.byteswap()

    def view(self, place: ViewPlace) -> NDArray[Any]:
        """Return the meters' numbers at this place, as a view, not a copy."""
        words = self._swapped if place.is_swapped else self._wire
        return np.ndarray(self._shape, place.dtype, words.data, place.offset, self._strides)

    def views(self, place: ViewPlace, count: int) -> NDArray[Any]:
        """Return the meters' numbers at this place and at the following ones, each in a row of the view."""
        words = self._swapped if place.is_swapped else self._wire
        shape, strides = (count, *self._shape), (place.dtype.itemsize, *self._strides)
        return np.ndarray(shape, place.dtype, words.data, place.offset, strides)

    def gathered(self, columns: Sequence[int], byte_order: Order) -> NDArray[Any]:
        """Return the meters' words in these columns, the most significant first, as one unsigned integer."""
        width = width_of(columns)
        words = self._wire if byte_order is Order.BIG_ENDIAN else self._swapped
        gathered = np.zeros((*self._shape, width), np.uint16)
        gathered[:, width - len(columns) :] = words.reshape(*self._shape, -1)[:, list(columns)]
        return gathered.view(f">u{WORD_BYTES * width}")[:, 0]


def width_of(columns: Sequence[int]) -> int:
    """Return the words of the smallest unsigned integer that holds these words."""
    return _WIDTHS[len(columns) - 1]


def are_neighbours(columns: Sequence[int]) -> bool:
    """Whether the columns follow one another, in either direction."""
    first, last = columns[0], columns[-1]
    step = 1 if last >= first else -1
    return list(columns) == list(range(first, last + step, step))


def word_columns(register: Register, column: int) -> tuple[int, ...]:
    """Return the columns of the words at a register's address, the most significant first.

    `word_order` is the order of the registers and `byte_order` the order of the bytes in each, even if a register has
    four bytes. A value that is shorter than its registers is at their least significant end.
    """
    each = register.register_bytes // WORD_BYTES
    registers = range(register.count) if register.word_order is Order.BIG_ENDIAN else range(register.count)[::-1]
    within = range(each) if register.byte_order is Order.BIG_ENDIAN else range(each)[::-1]
    columns = [column + each * register_ + word for register_ in registers for word in within]
    wanted = register.words if register.high_register_address is None else register.words // 2
    return tuple(columns[-wanted:])
