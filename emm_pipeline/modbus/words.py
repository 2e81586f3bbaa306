"""Words of replies, many meters at once: numbers as views of them, and bits gathered from several places. Pure."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from emm_pipeline.fleet import WORD_BYTES, Order, Register

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_WIDTHS = (1, 2, 4, 4)
"""Words of the smallest unsigned integer that holds one, two, three, four words."""


class Words:
    """The words of meters whose replies have the same layout, meter after meter, as on the wire."""

    def __init__(self, data: bytes, meters: int) -> None:
        self._wire = np.frombuffer(data, dtype=np.uint16)
        self._meters = meters
        self._stride = len(data) // meters

    @cached_property
    def _swapped(self) -> NDArray[np.uint16]:
        """The words with the two bytes of each swapped."""
        return self._wire.byteswap()

    def view(self, columns: Sequence[int], kind: str, byte_order: Order) -> NDArray[Any]:
        """Return the meters' numbers of a NumPy kind, such as `i4`, in neighbouring words, as a view, not a copy.

        If words and bytes have the same order, the bytes on the wire are a number in this order. Otherwise they are one
        after the bytes of each word were swapped.

        Args:
            columns: The columns of the words, the most significant first.
            kind: A kind with the size of the words.
            byte_order: The order of the bytes in each word.
        """
        rising = columns[-1] > columns[0] if len(columns) > 1 else byte_order is Order.BIG_ENDIAN
        words = self._wire if rising == (byte_order is Order.BIG_ENDIAN) else self._swapped
        order = ">" if rising else "<"
        offset = WORD_BYTES * min(columns)
        return np.ndarray((self._meters,), np.dtype(order + kind), words.data, offset=offset, strides=(self._stride,))

    def bits(self, columns: Sequence[int], byte_order: Order) -> NDArray[Any]:
        """Return the meters' words in these columns, most significant first, as one unsigned integer; maybe a view."""
        width = _WIDTHS[len(columns) - 1]
        if width == len(columns) and are_neighbours(columns):
            return self.view(columns, f"u{WORD_BYTES * width}", byte_order)
        words = self._wire if byte_order is Order.BIG_ENDIAN else self._swapped
        gathered = np.zeros((self._meters, width), np.uint16)
        gathered[:, width - len(columns) :] = words.reshape(self._meters, -1)[:, list(columns)]
        return gathered.view(f">u{WORD_BYTES * width}")[:, 0]


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
