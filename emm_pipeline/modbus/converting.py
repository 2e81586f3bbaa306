"""Convert the raw values of registers to values, in a matrix with a row per meter and a column per register. Pure.

    (raw * factor + addend) / divisor, absolute or with a sign from another register, times the meter's factor

Divisions come last, so that each value is one division of two whole numbers (see `scaling`). Features of few registers
do not slow down the others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

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
    """The divisors of values beyond their register's divisor, with which sums can be exact too.

    `powers` is by column, `factors` for the columns of registers that use the meter's factor. `notices` say why values
    are absent although the device sent something: index of the row, and a line.
    """

    powers: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    factors: NDArray[np.float64] | None = None
    notices: list[tuple[int, str]] = field(default_factory=list)

    @classmethod
    def joined(cls, parts: Sequence[Divided]) -> Divided:
        """Return the divisors of several matrices as one, in the same order; without notices."""
        if len(parts) == 1:
            return parts[0]
        powers = {column: np.concatenate([part.powers[column] for part in parts]) for column in parts[0].powers}
        factors = [part.factors for part in parts if part.factors is not None]
        return cls(powers, np.concatenate(factors) if factors else None)


class Conversion:
    """The conversion of the raw values of some registers, each a column."""

    def __init__(self, placed: Sequence[PlacedRegister]) -> None:
        self._placed = placed
        registers = [each.register for each in placed]
        self.linear = [Linear.of(register.scale, register.value_offset) for register in registers]
        self._factors, self._addends, self._divisors = np.array(self.linear).reshape(-1, 3).T.copy()
        self._scaled = [position for position, each in enumerate(placed) if each.scale is not None]
        # Where each meter has a power of ten of its own, offset and division follow it.
        self._addends[self._scaled], self._divisors[self._scaled] = 0.0, 1.0
        self._with_factor = np.flatnonzero(self._factors != 1).tolist()
        self._with_addend = np.flatnonzero(self._addends).tolist()
        self._has_divisors = bool((self._divisors != 1).any())
        self._absolute = [position for position, register in enumerate(registers) if register.absolute]
        self._signed = [position for position, each in enumerate(placed) if each.sign is not None]
        self.uses_factor = [position for position, register in enumerate(registers) if register.uses_factor]

    def apply(self, values: NDArray[np.float64], words: Words, factors: Factors | None) -> Divided:
        """Convert raw values, shape (meters, registers), in place. Values that are too large become infinite.

        Args:
            values: The raw values; NaN where there is none.
            words: The words of the raw values.
            factors: The meters' factors; None if all are 1.
        """
        divided = Divided()
        with np.errstate(all="ignore"):
            for position in self._with_factor:
                values[:, position] *= self._factors[position]
            for position in self._with_addend:
                values[:, position] += self._addends[position]
            for position in self._scaled:
                self._apply_power(position, values, words, divided)
            for position in self._absolute:
                np.abs(values[:, position], out=values[:, position])
            for position in self._signed:
                self._apply_sign(position, values, words)
            if factors and self.uses_factor:
                self._apply_factors(values, factors, divided)
            self._divide(values, divided)
        return divided

    def _apply_power(self, position: int, values: NDArray[np.float64], words: Words, divided: Divided) -> None:
        scale = self._placed[position].scale
        assert scale is not None  # noqa: S101 - that of `_scaled`
        exponents = scale.of(words)
        numerators, denominators = powers_of_ten(exponents)
        column = values[:, position]
        column *= numerators
        if addend := self.linear[position].addend:
            column += addend * denominators
        divided.powers[position] = denominators
        wrong = (abs(exponents.astype(np.int32)) > HIGHEST_POWER) & (exponents != NO_POWER)
        if wrong.any():
            name = self._placed[position].register.measurement_name
            divided.notices += [
                (index, f"left out: {name}, since its scale factor is {exponents[index]}, not -10 to 10")
                for index in np.flatnonzero(wrong).tolist()
            ]

    def _apply_sign(self, position: int, values: NDArray[np.float64], words: Words) -> None:
        sign, mask = self._placed[position].sign, self._placed[position].register.sign_mask or 0
        assert sign is not None  # noqa: S101 - that of `_signed`
        negative = (sign.of(words).astype(np.uint16) & np.uint16(mask)) != 0
        column = values[:, position]
        values[:, position] = np.where(negative, -np.abs(column), column) + 0.0  # no negative zero

    def _apply_factors(self, values: NDArray[np.float64], factors: Factors, divided: Divided) -> None:
        for position in self.uses_factor:
            values[:, position] *= factors.numerators
            if not factors.are_positive:
                values[:, position] += 0.0  # no negative zero
        divided.factors = None if factors.are_whole else factors.denominators

    def _divide(self, values: NDArray[np.float64], divided: Divided) -> None:
        """Divide once: two divisions would round twice."""
        of_meters = self.uses_factor if divided.factors is not None else []
        divisors = self._divisors
        if of_meters:
            divisors = divisors.copy()
            divisors[of_meters] = 1.0
        if self._has_divisors:
            values /= divisors
        for position, powers in divided.powers.items():
            own = self.linear[position].divisor * powers
            if position not in of_meters:
                values[:, position] /= own
            elif divided.factors is not None:
                values[:, position] /= own * divided.factors
        for position in of_meters:
            if position not in divided.powers and divided.factors is not None:
                values[:, position] /= self.linear[position].divisor * divided.factors
