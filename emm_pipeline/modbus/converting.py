"""Convert the raw values of registers to values, in an array with a row per register and a column per meter. Pure.

    (raw * factor + addend) / divisor, absolute or with a sign from another register, times the meter's factor

Divisions come last, so that each value is one division of two whole numbers (see `scaling`). Each step is computed for
neighbouring rows that need it together; most registers need only the division.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from emm_pipeline.modbus.scaling import NO_POWER, Linear, powers_of_ten

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from emm_pipeline.modbus.placing import PlacedRegister
    from emm_pipeline.modbus.scaling import Factors
    from emm_pipeline.modbus.words import ViewPlace, Words


@dataclass(slots=True)
class Divided:
    """The divisors of values in addition to their register's divisor, from which sums can be computed exactly.

    `powers` is by row; `factors` are the steps of the meters' factors, for the rows of registers that use them.
    `notices` say why values are absent although the device replied: index of the meter, and a line.
    """

    powers: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    factors: NDArray[np.float64] | None = None
    notices: list[tuple[int, str]] = field(default_factory=list)


class Conversion:
    """The conversion of the raw values of some registers, given by row."""

    def __init__(self, placed: Mapping[int, PlacedRegister]) -> None:
        self._placed = placed
        self.linear = {row: Linear.of(each.register.scale, each.register.value_offset) for row, each in placed.items()}
        self._views = _blocks({row: each.raw.place for row, each in placed.items() if each.raw.place})
        self._others = [(row, each.raw) for row, each in placed.items() if not each.raw.place]
        self._with_absent = [(row, each.raw) for row, each in placed.items() if each.raw.has_absent]
        powered = [row for row, each in placed.items() if each.scale is not None]
        self._powered = [(row, placed[row], self.linear[row]) for row in powered]
        self._multiplied = _runs({row: each.factor for row, each in self.linear.items() if each.factor != 1})
        self._shifted = _runs(
            {row: each.addend for row, each in self.linear.items() if each.addend and row not in powered}
        )
        self._absolute = [row for row, each in placed.items() if each.register.absolute]
        self._signed = [
            (row, each.sign, np.uint16(each.register.sign_mask or 0))
            for row, each in placed.items()
            if each.sign is not None
        ]
        self._using_factor = [row for row, each in placed.items() if each.register.uses_factor]
        self._factor_runs = [some for some, _ in _runs(dict.fromkeys(self._using_factor, 1.0))]
        divisors = {row: each.divisor for row, each in self.linear.items() if each.divisor != 1 and row not in powered}
        self._divided = _runs(divisors)
        self._divided_without_factor = _runs(
            {row: each for row, each in divisors.items() if row not in self._using_factor}
        )

    @property
    def uses_factor(self) -> bool:
        """Whether a register uses the meter's factor."""
        return bool(self._using_factor)

    def fill(self, rows: NDArray[np.float64], words: Words, factors: Factors | None) -> Divided:
        """Write the values into their rows.

        NaN is written where there is no value; a value that is too large becomes infinite.

        Args:
            rows: A row for each register, a column for each meter.
            words: The words of the meters.
            factors: The meters' factors; None if all are 1.
        """
        divided = Divided()
        with np.errstate(all="ignore"):
            for some, place in self._views:
                rows[some] = words.views(place, some.stop - some.start)
            for row, raw in self._others:
                rows[row] = raw.numbers(raw.of(words))
            for row, raw in self._with_absent:
                raw.clear_absent(words, rows[row])
            for some, numbers in self._multiplied:
                rows[some] *= numbers
            divisors = self._multiply_by_powers(rows, words, divided)
            for some, numbers in self._shifted:
                rows[some] += numbers
            self._set_signs(rows, words)
            self._multiply_by_factors(rows, factors, divisors, divided)
            self._divide(rows, factors, divisors)
        return divided

    def _multiply_by_powers(
        self, rows: NDArray[np.float64], words: Words, divided: Divided
    ) -> dict[int, NDArray[np.float64]]:
        """Multiply by the numerators of the powers of ten, add the offsets, and return the rows' divisors.

        Powers that cannot be right are noted.
        """
        divisors = {}
        for row, placed, linear in self._powered:
            assert placed.scale is not None  # noqa: S101 - the constructor has looked
            exponents = placed.scale.of(words)
            numerators, denominators = powers_of_ten(exponents)
            divided.powers[row] = denominators
            rows[row] *= numerators
            if linear.addend:
                rows[row] += linear.addend * denominators
            divisors[row] = linear.divisor * denominators
            wrong = np.isnan(numerators)
            if wrong.any():
                name = placed.register.measurement_name
                divided.notices += [
                    (index, f"left out: {name}, since its scale factor is {exponents[index]}, not -10 to 10")
                    for index in np.flatnonzero(wrong & (exponents != NO_POWER)).tolist()
                ]
        return divisors

    def _set_signs(self, rows: NDArray[np.float64], words: Words) -> None:
        for row in self._absolute:
            np.abs(rows[row], out=rows[row])
        for row, sign, mask in self._signed:
            negative = (sign.of(words) & mask) != 0
            np.negative(np.abs(rows[row]), out=rows[row], where=negative)
            rows[row] += 0.0  # no negative zero

    def _multiply_by_factors(
        self,
        rows: NDArray[np.float64],
        factors: Factors | None,
        divisors: dict[int, NDArray[np.float64]],
        divided: Divided,
    ) -> None:
        """Multiply by the numerators of the meters' factors, and add the rows' divisors."""
        if factors is None:
            return
        for some in self._factor_runs:
            rows[some] *= factors.numerators
            if not factors.are_positive:
                rows[some] += 0.0  # no negative zero
        divided.factors = factors.steps
        if not factors.are_whole:
            for row in self._using_factor:
                divisors[row] = divisors.get(row, self.linear[row].divisor) * factors.denominators

    def _divide(
        self, rows: NDArray[np.float64], factors: Factors | None, divisors: Mapping[int, NDArray[np.float64]]
    ) -> None:
        are_whole = factors is None or factors.are_whole
        for some, numbers in self._divided if are_whole else self._divided_without_factor:
            rows[some] /= numbers
        for row, numbers in divisors.items():
            rows[row] /= numbers


def _blocks(places: Mapping[int, ViewPlace]) -> list[tuple[slice, ViewPlace]]:
    """Return the neighbouring rows whose numbers are next to each other in the words, with the place of the first."""
    blocks: list[tuple[slice, ViewPlace]] = []
    last = None
    for row, place in sorted(places.items()):
        if last and blocks[-1][0].stop == row and place.follows(last):
            blocks[-1] = slice(blocks[-1][0].start, row + 1), blocks[-1][1]
        else:
            blocks.append((slice(row, row + 1), place))
        last = place
    return blocks


def _runs(numbers: Mapping[int, float]) -> list[tuple[slice, NDArray[np.float64]]]:
    """Return the neighbouring rows among these, with their numbers as a column."""
    runs: list[list[int]] = []
    for row in sorted(numbers):
        if runs and runs[-1][-1] == row - 1:
            runs[-1].append(row)
        else:
            runs.append([row])
    return [(slice(run[0], run[-1] + 1), np.array([[numbers[row]] for row in run])) for run in runs]
