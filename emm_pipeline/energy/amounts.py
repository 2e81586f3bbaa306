"""Energy and cost as whole numbers of a small unit (pure).

An energy is an integer number of 2⁻²⁴ kWh (0.06 mWh), and a cost of 2⁻²⁸ of the currency. Integers add exactly. Unlike
decimal fractions, these amounts are also exact as 64-bit floats, in which both stores keep them: the sum of the hours
of a month, in SQL, InfluxQL or a spreadsheet, is exactly the stored month, in any order. Rounded to six digits, an
energy shows the decimal digits of the register.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PER_KWH = 2**24
"""Energy units in a kWh (kvarh, kVAh)."""

PER_CURRENCY_UNIT = 2**28
"""Cost units in a euro, or another unit of currency."""

LARGEST_KWH = 2.0**38
"""Largest absolute value of a counter: 270 TWh. A larger one is not a reading."""


def energy_of(kwh: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return energies in kWh as integers, rounded to the nearest unit."""
    return np.rint(kwh * PER_KWH).astype(np.int64)


def kwh_of(energy: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return energies in kWh. The result is exact up to 2²⁹ kWh."""
    return energy / PER_KWH


def rounded(values: NDArray[np.float64], per_unit: int) -> NDArray[np.float64]:
    """Return floats that are exact multiples of the unit."""
    return np.rint(values * per_unit) / per_unit


def share(energy: NDArray[np.int64], part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.int64]:
    """Return the part of an energy that flowed in a part of the time, as if it flowed evenly.

    The result depends on these three numbers only, so the end of an hour and the beginning of the next one agree.
    """
    result: NDArray[np.int64] = np.rint(energy * (part / whole)).astype(np.int64)
    return result
