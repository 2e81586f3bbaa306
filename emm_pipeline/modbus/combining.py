"""Combined measurements: sums of the values of a poll, exact where the decimal values are. Pure, and vectorised.

All sums of a layout are computed at once: the parts' values are a matrix, their factors another one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from emm_pipeline.fleet import FLOATS
from emm_pipeline.modbus.scaling import EXACT, fraction_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from emm_pipeline.fleet import CombinedMeasurement, Part
    from emm_pipeline.modbus.converting import Divided
    from emm_pipeline.modbus.register_columns import RegisterColumns

_SAFE = EXACT / 8
"""Up to this number of steps of the sum, the rounding error of each term is far less than half a step."""

Matrix: TypeAlias = "tuple[NDArray[np.float64], NDArray[np.bool_], Divided]"
"""Values, whether each of them exists, and their divisors."""


class Sums:
    """The combined measurements of a layout. False if the type has none.

    `missing` says, by name, why some cannot be computed from replies of this layout.
    """

    def __init__(
        self,
        combined: Sequence[CombinedMeasurement],
        columns: Sequence[RegisterColumns],
        unplaced: Mapping[str, str],
    ) -> None:
        """Prepare sums.

        Args:
            combined: The measurements.
            columns: The registers that have values, in several matrices.
            unplaced: Why the values of the other registers are absent, by name.
        """
        self._combined = combined
        places = [(matrix, column) for matrix, each in enumerate(columns) for column in range(len(each.placed))]
        names = [columns[matrix].placed[column].register.measurement_name for matrix, column in places]
        self._place_of = dict(zip(names, places, strict=True))
        self.missing = {each.measurement_name: why for each in combined if (why := self._why_missing(each, unplaced))}
        used = dict.fromkeys(
            part.measurement_name for each in combined for part in each.parts if part.measurement_name in self._place_of
        )
        # Terms of the same matrix are next to each other.
        self._terms = sorted(used, key=self._place_of.__getitem__)
        self._columns = [
            [self._place_of[name][1] for name in self._terms if self._place_of[name][0] == matrix]
            for matrix in range(len(columns))
        ]
        shape = len(self._terms), len(combined)
        self._factors, self._required, self._steps = np.zeros(shape), np.zeros(shape), np.zeros(len(combined))
        self._uses_factor = np.zeros(len(combined), bool)
        for number, each in enumerate(combined):
            self._prepare(number, each, columns)
        self._is_optional = (self._factors != 0).any(axis=0) & ~(self._required != 0).any(axis=0)

    def __bool__(self) -> bool:
        return bool(self._combined)

    def _why_missing(self, each: CombinedMeasurement, unplaced: Mapping[str, str]) -> str | None:
        absent = [part for part in each.parts if part.measurement_name not in self._place_of]
        reasons = [
            f"its part {part.measurement_name} {unplaced.get(part.measurement_name, 'is absent from this device')}"
            for part in absent
            if not part.optional
        ]
        return "; ".join(reasons) or ("none of its parts was read" if len(absent) == len(each.parts) else None)

    def _prepare(self, number: int, each: CombinedMeasurement, columns: Sequence[RegisterColumns]) -> None:
        if each.measurement_name in self.missing:
            return
        divisors = []
        is_exact = True
        for part, term in self._there(each):
            matrix, column = self._place_of[part.measurement_name]
            register, linear = columns[matrix].placed[column].register, columns[matrix].conversion.linear[column]
            fraction = fraction_of(part.factor)
            self._factors[term, number] = part.factor
            self._required[term, number] = not part.optional
            self._uses_factor[number] |= register.uses_factor
            divisors.append(int(linear.divisor) * (1 if fraction is None else fraction.denominator))
            is_exact &= fraction is not None and register.data_type not in FLOATS
        steps = math.lcm(*divisors)
        # The number of steps of the exact sum in 1: 10 if its parts are tenths; 0 if that is unknown.
        self._steps[number] = steps if is_exact and steps <= EXACT else 0

    def _there(self, each: CombinedMeasurement) -> Iterator[tuple[Part, int]]:
        for part in each.parts:
            if part.measurement_name in self._place_of:
                yield part, self._terms.index(part.measurement_name)

    def add_into(
        self, totals: NDArray[np.float64], present: NDArray[np.bool_], matrices: Sequence[Matrix]
    ) -> list[tuple[int, str]]:
        """Write the sums, and whether each of them exists, into matrices of shape (replies, sums).

        Args:
            totals: Receives the sums.
            present: Receives whether each sum exists.
            matrices: The values of the registers.

        Returns:
            Why sums are absent: index of the reply, and a line.
        """
        if not self._terms:
            totals[:], present[:] = 0.0, False
            return []
        used = [(each, columns) for each, columns in zip(matrices, self._columns, strict=True) if columns]
        if len(used) == 1:
            ((values, available, _), columns) = used[0]
            parts, there = values[:, columns], available[:, columns]
        else:
            parts = np.concatenate([values[:, columns] for (values, _, _), columns in used], axis=1)
            there = np.concatenate([available[:, columns] for (_, available, _), columns in used], axis=1)
        complete = bool(there.all())
        if not complete:
            parts = np.where(there, parts, 0.0)
        with np.errstate(all="ignore"):
            # In a separate array, because the elements of a column of the large matrix are far apart in memory.
            sums = np.zeros((len(self._combined), len(parts)))
            # Column by column: for such small matrices, a product's threads take longer than the computation.
            for term, number in zip(*np.nonzero(self._factors), strict=True):
                sums[number] += parts[:, term] * self._factors[term, number]
            self._make_exact(sums.T, parts, self._steps_of(matrices))
        totals[:] = sums.T
        present[:] = np.isfinite(sums).T
        if self.missing:
            present[:, [each.measurement_name in self.missing for each in self._combined]] = False
        return [] if complete else self._drop_incomplete(present, there)

    def _make_exact(self, totals: NDArray[np.float64], parts: NDArray[np.float64], steps: NDArray[np.float64]) -> None:
        """Round to the nearest step, if the rounding errors of the terms are far less than half a step."""
        if not len(parts) or not parts.shape[1]:
            return
        is_exact = (steps >= 1) & (np.abs(parts).max(axis=0) @ np.abs(self._factors) * steps < _SAFE)
        if not is_exact.all():  # check each row separately
            is_exact = (steps >= 1) & (np.abs(parts) @ np.abs(self._factors) * steps < _SAFE)
        np.copyto(totals, np.rint(totals * steps) / steps, where=is_exact)

    def _steps_of(self, matrices: Sequence[Matrix]) -> NDArray[np.float64]:
        """Return the steps of the sums, for each reply if they differ."""
        steps = self._steps
        for number, (_, _, divided) in enumerate(matrices):
            for column, powers in divided.powers.items():
                if column in self._columns[number]:
                    term = sum(map(len, self._columns[:number])) + self._columns[number].index(column)
                    # Powers of ten: the largest is a multiple of the others.
                    with_power = np.where(self._factors[term] != 0, powers[:, np.newaxis], 1.0)
                    steps = np.fmax(steps, self._steps * with_power)
        factors = next((divided.factors for _, _, divided in matrices if divided.factors is not None), None)
        if factors is not None:
            steps = steps * np.where(self._uses_factor, factors[:, np.newaxis], 1.0)
        return steps

    def _drop_incomplete(self, present: NDArray[np.bool_], there: NDArray[np.bool_]) -> list[tuple[int, str]]:
        absent = ~there
        incomplete = (absent @ self._required > 0) | (self._is_optional & (there @ np.abs(self._factors) == 0))
        present &= ~incomplete
        notices = []
        for index, number in zip(*np.nonzero(incomplete), strict=True):
            each = self._combined[number]
            names = [
                part.measurement_name
                for part, term in self._there(each)
                if absent[index, term] and (not part.optional or self._is_optional[number])
            ]
            if each.measurement_name not in self.missing:
                why = f"the device has no value for its part {' and '.join(names)}"
                notices.append((int(index), f"left out: {each.measurement_name}, since {why}"))
        return notices


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
