"""Convert the raw values of registers to values, in a matrix with a row per meter and a column per register. Pure.

    (raw * factor + addend) / divisor, absolute or with a sign from another register, times the meter's factor

Divisions come last, so that each value is one division of two whole numbers (see `scaling`). Most registers only need a
division, which is done for the whole matrix at once. Values that need more steps are computed in a separate array and
then written into the matrix, because the elements of its columns are far apart in memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from emm_pipeline.modbus.scaling import HIGHEST_POWER, NO_POWER, Linear, powers_of_ten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from emm_pipeline.modbus.placing import PlacedRegister
    from emm_pipeline.modbus.scaling import Factors
    from emm_pipeline.modbus.words import Words


@dataclass(slots=True)
class Divided:
    """The divisors of values in addition to their register's divisor, from which sums can be computed exactly.

    `powers` is by column; `factors` applies to the columns of registers that use the meter's factor. `notices` say why
    values are absent although the device replied: index of the row, and a line.
    """

    powers: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    factors: NDArray[np.float64] | None = None
    notices: list[tuple[int, str]] = field(default_factory=list)


class Conversion:
    """The conversion of the raw values of some registers, each a column."""

    def __init__(self, placed: Sequence[PlacedRegister], further_columns: int = 0) -> None:
        self._placed = placed
        self.linear = [Linear.of(each.register.scale, each.register.value_offset) for each in placed]
        self._special = {position for position, each in enumerate(placed) if _needs_more(each, self.linear[position])}
        self._divisors = np.array(
            [1.0 if position in self._special else each.divisor for position, each in enumerate(self.linear)]
            + [1.0] * further_columns
        )
        self._has_divisors = bool((self._divisors != 1).any())
        self.with_absent = [
            position for position, each in enumerate(placed) if each.raw.has_absent and position not in self._special
        ]
        """The columns whose absent values are still to be found."""

    def fill(
        self, values: NDArray[np.float64], raws: Sequence[NDArray[Any]], words: Words, factors: Factors | None
    ) -> Divided:
        """Write the values of the raw values into the first columns of a matrix with a row for each meter.

        NaN is written where a raw value is not of its type; a value that is too large becomes infinite.

        Args:
            values: The matrix.
            raws: For each register, the result of `RawValues.of`.
            words: The words from which the raw values were made.
            factors: The meters' factors; None if all are 1.
        """
        divided = Divided()
        with np.errstate(all="ignore"):
            for position, (each, raw) in enumerate(zip(self._placed, raws, strict=True)):
                if position in self._special:
                    values[:, position] = self._value(position, raw, words, factors, divided)
                else:
                    values[:, position] = each.raw.numbers(raw)
            if self._has_divisors:
                values /= self._divisors
        return divided

    def _value(
        self, position: int, raw: NDArray[Any], words: Words, factors: Factors | None, divided: Divided
    ) -> NDArray[np.float64]:
        """Return the values of a register that needs more than a division; NaN where there is none."""
        placed, (factor, offset, divisor) = self._placed[position], self.linear[position]
        addend: Any = offset
        column = placed.raw.numbers(raw).astype(np.float64)
        placed.raw.clear_absent(raw, column)
        divisors: Any = divisor
        if factor != 1:
            column *= factor
        if placed.scale is not None:
            numerators, denominators = self._powers(position, words, divided)
            column *= numerators
            divisors, addend = divisor * denominators, addend * denominators
        if placed.register.value_offset:
            column += addend
        if placed.register.absolute:
            np.abs(column, out=column)
        if placed.sign is not None:
            mask = np.uint16(placed.register.sign_mask or 0)
            negative = (placed.sign.of(words).astype(np.uint16) & mask) != 0
            column = np.where(negative, -np.abs(column), column) + 0.0  # no negative zero
        if factors and placed.register.uses_factor:
            column *= factors.numerators
            if not factors.are_positive:
                column += 0.0  # no negative zero
            if not factors.are_whole:
                divisors = divisors * factors.denominators
                divided.factors = factors.denominators
        if divisors is not divisor or divisor != 1:
            column /= divisors
        return column

    def _powers(self, position: int, words: Words, divided: Divided) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the powers of ten of a register's scale factor as fractions, and note those that cannot be right."""
        placed = self._placed[position]
        assert placed.scale is not None  # noqa: S101 - the caller has just looked
        exponents = placed.scale.of(words)
        numerators, denominators = powers_of_ten(exponents)
        divided.powers[position] = denominators
        wrong = (abs(exponents.astype(np.int32)) > HIGHEST_POWER) & (exponents != NO_POWER)
        if wrong.any():
            name = placed.register.measurement_name
            divided.notices += [
                (index, f"left out: {name}, since its scale factor is {exponents[index]}, not -10 to 10")
                for index in np.flatnonzero(wrong).tolist()
            ]
        return numerators, denominators


def _needs_more(placed: PlacedRegister, linear: Linear) -> bool:
    """Whether a register needs more than a division."""
    register = placed.register
    return (
        linear.factor != 1
        or bool(register.value_offset)
        or placed.scale is not None
        or placed.sign is not None
        or register.absolute
        or register.uses_factor
        or bool(register.invalid_values)
    )
