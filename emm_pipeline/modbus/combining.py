"""Combined measurements: sums of the values of a poll, exact where the decimal values are. Pure, and vectorised."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from emm_pipeline.fleet import FLOATS, WORD_BYTES
from emm_pipeline.modbus.scaling import EXACT, fraction_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from emm_pipeline.fleet import CombinedMeasurement, Part
    from emm_pipeline.modbus.converting import Divided
    from emm_pipeline.modbus.register_rows import RegisterRows

_SAFE = EXACT / 8
"""Up to this number of steps of the sum, the rounding error of each term is far less than half a step."""


@dataclass(frozen=True, slots=True)
class _Term:
    """A part of a sum, and the row of its values."""

    row: int
    part: Part


class _Sum:
    """A combined measurement whose parts are in rows."""

    def __init__(self, combined: CombinedMeasurement, registers: RegisterRows) -> None:
        rows = {each.register.measurement_name: row for row, each in registers.placed.items()}
        self.name = combined.measurement_name
        self._terms = [
            _Term(rows[each.measurement_name], each) for each in combined.parts if each.measurement_name in rows
        ]
        self._uses_factor = any(registers.placed[each.row].register.uses_factor for each in self._terms)
        self._steps = self._exact_steps(registers)
        self._is_always_exact = self._largest(registers) * self._steps < _SAFE
        """Whether the numbers are so small that it need not be checked."""

    def _exact_steps(self, registers: RegisterRows) -> int:
        """Return the number of steps of the exact sum in 1: 10 if its parts are tenths; 0 if that is unknown."""
        divisors = []
        for each in self._terms:
            linear, fraction = registers.conversion.linear[each.row], fraction_of(each.part.factor)
            is_float = registers.placed[each.row].register.data_type in FLOATS
            if is_float or fraction is None or not linear.is_exact:
                return 0
            divisors.append(int(linear.divisor) * fraction.denominator)
        steps = math.lcm(*divisors)
        return steps if steps <= EXACT else 0

    def _largest(self, registers: RegisterRows) -> float:
        """Return a limit of the sum of the parts' absolute values; infinite if it depends on the device."""
        largest = 0.0
        for each in self._terms:
            register, linear = registers.placed[each.row].register, registers.conversion.linear[each.row]
            if register.uses_factor or register.scale_register is not None:
                return math.inf
            raw = 2.0 ** (8 * WORD_BYTES * register.words)
            largest += abs(each.part.factor) * (raw * abs(linear.factor) + abs(linear.addend)) / linear.divisor
        return largest

    def add_up(self, rows: NDArray[np.float64], total: NDArray[np.float64], divided: Divided) -> list[tuple[int, str]]:
        """Write the sums into `total`, NaN where there is none, and return why: index of the meter, and a line."""
        self._add([rows[each.row] for each in self._terms], total, divided)
        return [] if np.isfinite(total).all() else self._add_those_there(rows, total, divided)

    def _add_those_there(
        self, rows: NDArray[np.float64], total: NDArray[np.float64], divided: Divided
    ) -> list[tuple[int, str]]:
        """Add up, where some parts are absent."""
        there = np.array([np.isfinite(rows[each.row]) for each in self._terms])
        parts = [np.where(available, rows[each.row], 0.0) for each, available in zip(self._terms, there, strict=True)]
        self._add(parts, total, divided)
        required = [place for place, each in enumerate(self._terms) if not each.part.optional]
        incomplete = ~there[required].all(axis=0) if required else ~there.any(axis=0)
        total[incomplete] = np.nan
        needed = required or range(len(self._terms))
        notices = []
        for index in np.flatnonzero(incomplete).tolist():
            names = [self._terms[place].part.measurement_name for place in needed if not there[place, index]]
            why = f"the device has no value for its part {' and '.join(names)}"
            notices.append((index, f"left out: {self.name}, since {why}"))
        return notices

    def _add(self, parts: Sequence[NDArray[np.float64]], total: NDArray[np.float64], divided: Divided) -> None:
        total.fill(0.0)
        for each, part in zip(self._terms, parts, strict=True):
            total += part if each.part.factor == 1 else part * each.part.factor
        if self._steps and self._is_always_exact:
            _round(total, self._steps)
        elif self._steps:
            self._make_exact(parts, total, divided)

    def _make_exact(self, parts: Sequence[NDArray[np.float64]], total: NDArray[np.float64], divided: Divided) -> None:
        """Round to the nearest step, if the rounding errors of the terms are far less than half a step."""
        steps = self._steps_of(divided)
        factors = [abs(each.part.factor) for each in self._terms]
        most = sum(factor * float(np.abs(part).max()) for factor, part in zip(factors, parts, strict=True))
        if most * np.max(steps) < _SAFE and np.min(steps) >= 1:
            _round(total, steps)
        else:  # check each meter separately
            sizes = sum(factor * np.abs(part) for factor, part in zip(factors, parts, strict=True))
            is_exact = (steps >= 1) & (sizes * steps < _SAFE)
            np.copyto(total, np.rint(total * steps) / steps, where=is_exact)

    def _steps_of(self, divided: Divided) -> NDArray[np.float64]:
        """Return the steps of the sum, for each meter if they differ."""
        powers = [divided.powers[each.row] for each in self._terms if each.row in divided.powers]
        # Powers of ten: the largest is a multiple of the others.
        steps = np.array(float(self._steps))
        for each in powers:
            steps = np.fmax(steps, self._steps * each)
        return steps * divided.factors if self._uses_factor and divided.factors is not None else steps


def _round(total: NDArray[np.float64], steps: float | NDArray[np.float64]) -> None:
    """Round to the nearest step."""
    total *= steps
    np.rint(total, out=total)
    total /= steps


class Sums:
    """The combined measurements of a layout, given by row.

    `missing` says, by name, why some cannot be computed from replies of this layout.
    """

    def __init__(
        self, combined: Mapping[int, CombinedMeasurement], registers: RegisterRows, unplaced: Mapping[str, str]
    ) -> None:
        """Prepare sums.

        Args:
            combined: The measurements.
            registers: The registers that have values.
            unplaced: Why the values of the other registers are absent, by name.
        """
        names = {each.register.measurement_name for each in registers.placed.values()}
        whys = {row: _why_missing(each, names, unplaced) for row, each in combined.items()}
        self.missing = {combined[row].measurement_name: why for row, why in whys.items() if why}
        self._absent = [row for row, why in whys.items() if why]
        self._sums = {row: _Sum(combined[row], registers) for row, why in whys.items() if not why}

    def fill(self, rows: NDArray[np.float64], divided: Divided) -> list[tuple[int, str]]:
        """Write the sums into their rows, NaN where there is none.

        Returns:
            Why sums are absent: index of the meter, and a line.
        """
        notices = []
        with np.errstate(all="ignore"):
            for row, each in self._sums.items():
                notices += each.add_up(rows, rows[row], divided)
        for row in self._absent:
            rows[row] = np.nan
        return notices


def _why_missing(each: CombinedMeasurement, names: set[str], unplaced: Mapping[str, str]) -> str | None:
    absent = [part for part in each.parts if part.measurement_name not in names]
    reasons = [
        f"its part {part.measurement_name} {unplaced.get(part.measurement_name, 'is absent from this device')}"
        for part in absent
        if not part.optional
    ]
    return "; ".join(reasons) or ("none of its parts was read" if len(absent) == len(each.parts) else None)


def combine(combined: CombinedMeasurement, values: Mapping[str, float]) -> tuple[float | None, str | None]:
    """Return a sum of single values, given by name, as a poll would store it; or why there is none.

    It is exact if the values are short decimal numbers. For floats, a poll's result may differ in the last digits.
    """
    absent = [each.measurement_name for each in combined.parts if each.measurement_name not in values]
    required = [each.measurement_name for each in combined.parts if not each.optional]
    there = [each for each in combined.parts if each.measurement_name in values]
    missing = [name for name in absent if name in required]
    if missing or not there:
        return None, f"there is no value for its part {' and '.join(missing or absent)}"
    terms = [(fraction_of(each.factor), fraction_of(values[each.measurement_name])) for each in there]
    exact = [factor * value for factor, value in terms if factor is not None and value is not None]
    if len(exact) == len(terms):
        return float(sum(exact)), None
    return math.fsum(each.factor * values[each.measurement_name] for each in there), None
