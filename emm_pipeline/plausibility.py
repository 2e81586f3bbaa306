"""Check whether values can be right: ranges by quantity and unit (pure).

A wrong word order, data type or address gives values that no meter measures. The ranges are wide: a value outside of
them is certainly wrong, but a value inside can also be wrong.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

SMALLEST, LARGEST = 1e-9, 1e12
"""Limits of the absolute value of any quantity that a meter measures, other than zero itself."""


class Range(NamedTuple):
    """The values that a quantity may have, including both ends; zero is always allowed."""

    lowest: float
    highest: float

    def __str__(self) -> str:
        return f"{self.lowest:g} to {self.highest:g}"


ANYTHING = Range(-LARGEST, LARGEST)

_RANGES = (
    (re.compile(r"freq", re.IGNORECASE), "Hz", Range(15.0, 70.0)),
    (re.compile(r"freq", re.IGNORECASE), "mHz", Range(15_000.0, 70_000.0)),
    (re.compile(r"volt", re.IGNORECASE), "V", Range(-500_000.0, 500_000.0)),
    (re.compile(r"volt", re.IGNORECASE), "kV", Range(-500.0, 500.0)),
    (re.compile(r"power_?factor|cos_?phi", re.IGNORECASE), None, Range(-1.01, 1.01)),
    (re.compile(r"power_?factor|cos_?phi", re.IGNORECASE), "%", Range(-101.0, 101.0)),
    (re.compile(r"state_?of_?charge|soc$", re.IGNORECASE), "%", Range(0.0, 101.0)),
    (re.compile(""), "°", Range(-360.0, 360.0)),
    (re.compile(""), "°C", Range(-100.0, 300.0)),
    (re.compile(""), "A", Range(-100_000.0, 100_000.0)),
)
"""A pattern that the measurement's name contains, its unit (None: no unit), and the range."""


_ENERGY = re.compile(r"[kMG]?(Wh|varh|VAh)")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_MAY_FALL = frozenset(
    [
        *("net", "balance", "difference", "today", "yesterday", "day", "daily", "week", "weekly", "month", "monthly"),
        *("year", "yearly", "annual", "hour", "hourly", "partial", "trip", "session", "resettable"),
        *("stored", "remaining", "available", "capacity", "level"),
    ]
)
"""Words in the names of energies that fall at times: those of a period, a balance, or the content of a battery."""


@lru_cache(maxsize=100_000)
def is_counter(measurement: str, unit: str | None) -> bool:
    """Whether a measurement is an energy that only rises, by its unit and the words of its name."""
    if not unit or not _ENERGY.fullmatch(unit):
        return False
    return _MAY_FALL.isdisjoint(word.lower() for word in _WORD.findall(measurement))


@lru_cache(maxsize=10_000)
def range_of(measurement: str, unit: str | None) -> Range:
    """Return the range of a quantity."""
    for pattern, of_unit, allowed in _RANGES:
        if unit == of_unit and pattern.search(measurement):
            return allowed
    return ANYTHING


class ImplausibleValue(NamedTuple):
    """A value that cannot be right: the row of the frame, its measurement, and why, in one line."""

    row: int
    measurement: str
    reason: str


def implausible_values(frame: pd.DataFrame) -> list[ImplausibleValue]:
    """Return the values of a frame of readings that cannot be right.

    Args:
        frame: Columns `readings.READING_COLUMNS`.
    """
    if not len(frame):
        return []
    measurements, units = (frame[name].astype("category").cat for name in ("measurement", "unit"))
    names, unit_names = measurements.categories.tolist(), [*units.categories.tolist(), None]
    codes = measurements.codes.to_numpy().astype(np.int64) * len(unit_names)
    codes += units.codes.to_numpy().astype(np.int64) % len(unit_names)  # a missing unit is the last
    quantities = {
        code: (names[code // len(unit_names)], unit_names[code % len(unit_names)])
        for code in np.flatnonzero(np.bincount(codes)).tolist()
    }
    ranges = np.zeros((max(quantities) + 1, 2))
    for code, quantity in quantities.items():
        ranges[code] = range_of(*quantity)
    values = frame["value"].to_numpy(np.float64)
    found = []
    for row in _outside(values, ranges, codes).tolist():
        name, unit = quantities[int(codes[row])]
        allowed = range_of(name, unit)
        found.append(ImplausibleValue(row, name, _reason(float(values[row]), unit, allowed)))
    return found


def _outside(values: NDArray[np.float64], ranges: NDArray[np.float64], of_row: NDArray[np.intp]) -> NDArray[np.intp]:
    lowest, highest = ranges[of_row, 0], ranges[of_row, 1]
    tiny = (np.abs(values) < SMALLEST) & (values != 0)
    return np.flatnonzero(((values < lowest) | (values > highest)) & (values != 0) | tiny)


def implausibility(measurement: str, unit: str | None, value: float) -> str | None:
    """Return why a value cannot be right, in one line; None if it can."""
    allowed = range_of(measurement, unit)
    is_right = value == 0 or (allowed.lowest <= value <= allowed.highest and abs(value) >= SMALLEST)
    return None if is_right else _reason(value, unit, allowed)


def _reason(value: float, unit: str | None, allowed: Range) -> str:
    shown = f"{value:.7g} {unit or ''}".rstrip()
    if allowed is ANYTHING or 0 < abs(value) < SMALLEST:
        return f"the value {shown} is of a size that no meter measures: check data type, word order and address"
    return f"the value {shown} is outside of {allowed}: check data type, word order, scale and address"
