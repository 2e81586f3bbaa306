"""Allocation of large arrays. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NUMBER_BYTES = 8
_LARGE_PAGES_FROM = 4 << 20
"""Bytes of an array from which on NumPy asks the operating system for large pages."""
_WORTH_IT_FROM = 1 << 20
"""Bytes; below, a large page costs as much as the small ones that it replaces."""


def empty(*shape: int, dtype: type[Any] = np.float64) -> NDArray[Any]:
    """Return a new array of 64-bit numbers with any content.

    The first use of each small page takes longer than filling it, so a large array gets large pages, if the operating
    system allows it. An array that is too small for them is the beginning of a larger one, whose rest is never used and
    takes no memory.
    """
    size = math.prod(shape)
    if size * _NUMBER_BYTES < _WORTH_IT_FROM:
        return np.empty(shape, dtype)
    return np.empty(max(size, _LARGE_PAGES_FROM // _NUMBER_BYTES), dtype)[:size].reshape(shape)
