"""From raw values to values: scale, power of ten, offset and the meter's factor, without rounding errors. Pure.

A person writes a scale as a decimal number, which a float can rarely represent: 2314 * 0.1 is 231.40000000000003. So
scales and offsets are fractions here, and a value is one division of two whole numbers, (raw * factor + addend) /
divisor. As long as the whole numbers are below 2 ** 53, the result is the float nearest to the exact value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

EXACT = 2**53
"""A float can represent every whole number up to this."""

HIGHEST_POWER = 10
"""SunSpec's scale factors are from -10 to 10; any other value means that there is no reading."""

NO_POWER = -0x8000
"""SunSpec's value for "no scale factor"."""


class Linear(NamedTuple):
    """value = (raw * factor + addend) / divisor.

    With `is_exact`, all of them are whole numbers; otherwise the divisor is 1.
    """

    factor: float
    addend: float
    divisor: float
    is_exact: bool = True

    @classmethod
    def of(cls, scale: float, offset: float) -> Linear:
        """Return a scale and an offset as fractions; as floats if they are not short decimal numbers."""
        slope, shift = fraction_of(scale), fraction_of(offset)
        if slope is not None and shift is not None:
            divisor = math.lcm(slope.denominator, shift.denominator)
            factor, addend = (each.numerator * (divisor // each.denominator) for each in (slope, shift))
            if max(abs(factor), abs(addend), divisor) <= EXACT:
                return cls(float(factor), float(addend), float(divisor))
        return cls(scale, offset, 1.0, is_exact=False)


@lru_cache(maxsize=10_000)
def fraction_of(number: float) -> Fraction | None:
    """Return the fraction that a person meant: a short decimal number, or the reciprocal of an integer, such as 1/3."""
    if number and math.isfinite(1 / number):
        whole = round(1 / number)
        if whole and abs(1 / whole - number) <= math.ulp(number):
            return Fraction(1, whole)
    fraction = Fraction(repr(float(number)))
    return fraction if max(abs(fraction.numerator), fraction.denominator) <= EXACT else None


@dataclass(frozen=True, slots=True)
class Factors:
    """Meters' factors as fractions: one for each meter, or a single one if all are equal."""

    numerators: NDArray[np.float64]
    denominators: NDArray[np.float64]
    are_whole: bool
    """Whether all denominators are 1."""
    are_positive: bool
    steps: NDArray[np.float64] | None
    """The denominators, infinite where a factor is not a short decimal number; None if all of them are 1."""

    @classmethod
    def of(cls, factors: Sequence[float]) -> Factors | None:
        """The fractions of these factors; None where all are 1."""
        are_equal = factors.count(factors[0]) == len(factors)
        different = [factors[0]] if are_equal else sorted(set(factors))
        if different == [1.0]:
            return None
        fractions = [fraction_of(factor) for factor in different]
        pairs = [
            (factor, 1, math.inf)
            if fraction is None
            else (fraction.numerator, fraction.denominator, fraction.denominator)
            for factor, fraction in zip(different, fractions, strict=True)
        ]
        places = np.searchsorted(different, factors) if len(different) > 1 else np.zeros(1, int)
        numerators, denominators, steps = np.array(pairs, float).T[:, places]
        are_whole, are_positive = bool((denominators == 1).all()), bool(different[0] > 0)
        return cls(numerators, denominators, are_whole, are_positive, None if (steps == 1).all() else steps)

    def part(self, some: slice) -> Factors:
        """Return the factors of some meters."""
        if len(self.numerators) == 1:
            return self
        steps = None if self.steps is None else self.steps[some]
        return replace(self, numerators=self.numerators[some], denominators=self.denominators[some], steps=steps)


_BEYOND = HIGHEST_POWER + 1
_POWERS = np.array([*range(_BEYOND), np.nan, np.nan, *range(-HIGHEST_POWER, 0)])
"""The power of ten at the place of each exponent; negative exponents count from the end."""
_NUMERATORS, _DENOMINATORS = 10.0 ** np.maximum(_POWERS, 0), 10.0 ** np.maximum(-_POWERS, 0)


def powers_of_ten(exponents: NDArray[np.int16]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return ten to the power of these exponents: numerators and denominators. NaN for an invalid exponent."""
    places = np.maximum(np.minimum(exponents, _BEYOND), -_BEYOND)
    return _NUMERATORS[places], _DENOMINATORS[places]
