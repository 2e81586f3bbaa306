"""Columns of readings and results, flags, and what is known of a counter (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

HOUR_MS = 3_600_000


class Flag(IntFlag):
    """A property of the energy of an interval. The name in lower case is stored."""

    RESET = 1
    """The counter fell and stayed there: it was reset, or the meter was replaced. It counts from the new value on."""
    REPLACED = 2
    """The counter rose by more than can have flowed: another device has this id. It counts from the new value on."""
    GLITCH = 4
    """A value that cannot be right was left out: the counter had returned soon after."""
    ROLLOVER = 8
    """The counter has passed the highest value of its register, and began at 0."""
    ESTIMATED = 16
    """Readings are missing at an edge of the interval: the energy is known, but not how much of it is in this one."""
    INCOMPLETE = 32
    """The interval has no reading before its beginning or after its end: the energy is that between its readings."""
    POWER = 64
    """The meter has no counter: its power was integrated over time."""
    NO_PRICE = 128
    """The tariff has no price for a part of the interval, so the cost is not known."""


def flags_text(flags: int) -> str:
    """Return flags as they are stored: names in lower case, separated by commas."""
    return ",".join(str(flag.name).lower() for flag in Flag if flags & flag)


def flags_of(text: str | None) -> int:
    """Return the flags of a stored text; unknown names are ignored."""
    names = {str(flag.name).lower(): flag for flag in Flag}
    return sum(names[name] for name in set((text or "").split(",")) if name in names)


class Series(NamedTuple):
    """Whose energy it is: the meter's id, the measurement's name, and the unit of the energy (kWh, kvarh, kVAh)."""

    meter_id: int
    measurement: str
    unit: str


@dataclass(frozen=True, slots=True)
class Counter:
    """The properties of a counter, in energies of `amounts`; 0 is unknown."""

    step: int = 0
    """The energy of the register's lowest digit."""
    modulus: int = 0
    """The energy at which the register begins at 0 again."""
    counts_down: bool = False
    """Whether the value falls while energy flows: the meter is mounted backwards."""
    max_power: int = 0
    """Most energy in an hour, from `energy_meters.max_power_w`."""


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """Readings of several series, sorted by series and time; each time at most once in a series."""

    series: NDArray[np.int64]
    """Index of the series."""
    time: NDArray[np.int64]
    """Milliseconds since 1970, UTC."""
    value: NDArray[np.float64]
    """kWh (kvarh, kVAh) of counters, kW of powers."""

    @classmethod
    def of(cls, series: NDArray[np.int64], time: NDArray[np.int64], value: NDArray[np.float64]) -> Readings:
        """Sort readings; of several with the same series and time, the first is taken."""
        order = np.lexsort((time, series))
        series, time, value = series[order], time[order], value[order]
        first = np.ones(len(time), bool)
        first[1:] = (series[1:] != series[:-1]) | (time[1:] != time[:-1])
        return cls(series[first], time[first], value[first])

    def __len__(self) -> int:
        return len(self.time)


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """The energy at each accepted reading of each series. The columns are sorted by series and time."""

    series: NDArray[np.int64]
    time: NDArray[np.int64]
    gain: NDArray[np.int64]
    """Energy since the reading before; 0 at a series' first one."""
    flags: NDArray[np.int64]
    """Flags of the time since the reading before."""
    glitch_series: NDArray[np.int64]
    glitch_time: NDArray[np.int64]
    """The readings that were left out."""
    unsettled: NDArray[np.int64]
    """Series whose last readings cannot be judged yet: the counter fell or jumped, and may return."""


@dataclass(frozen=True, slots=True, eq=False)
class Energies:
    """The energy of intervals: one row per series and interval.

    `energy` and `estimated` are in kWh and exact multiples of the unit of `amounts`, so that they can be added exactly.
    """

    series: Sequence[Series]
    code: NDArray[np.int64]
    """Index in `series`."""
    start: NDArray[np.int64]
    """Beginning of the interval: milliseconds since 1970, UTC."""
    energy: NDArray[np.float64]
    coverage: NDArray[np.float64]
    """Percentage of the interval's time in which the meter was read at its usual distance."""
    cost: NDArray[np.float64]
    """In units of the tariff's currency, negative for a credit; NaN without a tariff."""
    estimated: NDArray[np.float64]
    """The part of `energy` that was assigned to this interval by interpolation over missing readings."""
    readings: NDArray[np.int64]
    flags: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, rows: NDArray[np.bool_] | NDArray[np.intp] | slice) -> Energies:
        columns = ("code", "start", "energy", "coverage", "cost", "estimated", "readings", "flags")
        return Energies(self.series, *(getattr(self, name)[rows] for name in columns))

    @classmethod
    def empty(cls) -> Energies:
        """Return columns without rows."""
        whole, number = np.zeros(0, np.int64), np.zeros(0, np.float64)
        return cls((), whole, whole, number, number, number, number, whole, whole)

    @classmethod
    def joined(cls, parts: Sequence[Energies]) -> Energies:
        """Return the rows of all parts."""
        if not parts:
            return cls.empty()
        known: dict[Series, int] = {}
        codes = []
        for part in parts:
            new = np.array([known.setdefault(series, len(known)) for series in part.series], np.int64)
            codes.append(new[part.code] if len(new) else part.code)
        columns = ("start", "energy", "coverage", "cost", "estimated", "readings", "flags")
        joined = (np.concatenate([getattr(part, name) for part in parts]) for name in columns)
        return cls(tuple(known), np.concatenate(codes), *joined)
