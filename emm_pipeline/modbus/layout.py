"""Decode replies with one layout to a matrix with a row per reply and a column per series. Pure, and vectorised."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from emm_pipeline.modbus.allocation import empty
from emm_pipeline.modbus.combining import Sums
from emm_pipeline.modbus.placing import NOT_READ, PlacedRegister, Unplaced, place
from emm_pipeline.modbus.register_rows import RegisterRows
from emm_pipeline.modbus.scaling import Factors
from emm_pipeline.modbus.words import Words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from emm_pipeline.fleet import MeterType
    from emm_pipeline.readings import RegisterBlock, Request

_VALUES_AT_ONCE = 400_000
"""So few that the replies' words, and the values that are computed from them, mostly stay in the CPU's cache."""


@dataclass(slots=True)
class LayoutValues:
    """The values in replies.

    `matrix` (the values) and `present` (whether each value exists) have the shape (replies, series). `notices` say why
    values are absent although the device replied: index of the reply, and a line.
    """

    matrix: NDArray[np.float64]
    present: NDArray[np.bool_]
    notices: list[tuple[int, str]] = field(default_factory=list)


class Layout:
    """The positions of a type's registers in the words of its replies, and their conversion to values.

    `series` are the names and units of the columns that `decode` returns: the type's stored registers, then its sums.
    """

    def __init__(self, meter_type: MeterType, requests: Sequence[Request]) -> None:
        places = list(place(meter_type.measured, requests))
        placed = [each for each in places if isinstance(each, PlacedRegister)]
        unplaced = [each for each in places if isinstance(each, Unplaced)]
        stored = [each for each in placed if each.register.stored]
        hidden = [each for each in placed if not each.register.stored]
        # The values are computed in rows, of which the first become the columns of the matrix.
        sums = dict(enumerate(meter_type.combined, len(stored)))
        self._rows = len(placed) + len(sums)
        self._registers = RegisterRows(dict(enumerate(stored)) | dict(enumerate(hidden, len(stored) + len(sums))))
        reasons = {each.register.measurement_name: each.reason for each in unplaced}
        self._sums = Sums(sums, self._registers, reasons)
        lost = [(each.register.measurement_name, each.reason) for each in unplaced if each.reason != NOT_READ]
        self._notices = [f"left out: {name}, since {reason}" for name, reason in (*lost, *self._sums.missing.items())]
        self.series = [(each.register.measurement_name, each.register.data_unit) for each in stored]
        self.series += [(combined.measurement_name, combined.data_unit) for combined in meter_type.combined]
        self.uses_factor = self._registers.conversion.uses_factor

    def decode(
        self, replies: Sequence[tuple[RegisterBlock, ...]], meters_factors: Sequence[float] = (1.0,)
    ) -> LayoutValues:
        """Decode replies; `meters_factors` are the factors of their meters, needed if the layout `uses_factor`."""
        matrix: NDArray[np.float64] = empty(len(replies), len(self.series))
        found = LayoutValues(matrix, np.empty_like(matrix, dtype=bool))
        factors = Factors.of(meters_factors)
        at_once = max(1, min(len(replies), _VALUES_AT_ONCE // max(1, self._rows)))
        rows: NDArray[np.float64] = empty(self._rows, at_once)
        for first in range(0, len(replies), at_once):
            some = slice(first, first + at_once)
            part = replies[some]
            notices = self._fill(rows[:, : len(part)], part, factors.part(some) if factors else None)
            matrix[some] = rows[: len(self.series), : len(part)].T
            np.isfinite(matrix[some], out=found.present[some])
            found.notices += [(first + index, line) for index, line in notices]
        if self._notices:
            found.notices += [(index, line) for index in range(len(replies)) for line in self._notices]
        return found

    def _fill(
        self, rows: NDArray[np.float64], replies: Sequence[tuple[RegisterBlock, ...]], factors: Factors | None
    ) -> list[tuple[int, str]]:
        words = Words(b"".join([block.data for blocks in replies for block in blocks]), len(replies))
        divided = self._registers.fill(rows, words, replies, factors)
        return divided.notices + self._sums.fill(rows, divided)
