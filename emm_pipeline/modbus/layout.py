"""Decode replies with one layout to a matrix with a row per reply and a column per series. Pure, and vectorised."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from emm_pipeline.modbus.combining import Sums
from emm_pipeline.modbus.placing import NOT_READ, PlacedRegister, Unplaced, place
from emm_pipeline.modbus.register_columns import RegisterColumns
from emm_pipeline.modbus.scaling import Factors
from emm_pipeline.modbus.words import Words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from emm_pipeline.fleet import MeterType
    from emm_pipeline.readings import RegisterBlock, Request

_METERS_AT_ONCE = 1000
"""Small enough that the replies' words, and the part of the matrix that is being filled, stay in the CPU's cache."""


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
        self._stored = RegisterColumns(stored, len(meter_type.combined))
        # Values that are not stored have a separate matrix, so that leaving them out needs no copy.
        self._hidden = RegisterColumns([each for each in placed if not each.register.stored])
        reasons = {each.register.measurement_name: each.reason for each in unplaced}
        self._sums = Sums(meter_type.combined, [self._stored, self._hidden], reasons)
        lost = [(each.register.measurement_name, each.reason) for each in unplaced if each.reason != NOT_READ]
        self._notices = [f"left out: {name}, since {reason}" for name, reason in (*lost, *self._sums.missing.items())]
        registers = [each.register for each in self._stored.placed]
        self.series = [(register.measurement_name, register.data_unit) for register in registers]
        self.series += [(combined.measurement_name, combined.data_unit) for combined in meter_type.combined]

    def decode(self, replies: Sequence[tuple[RegisterBlock, ...]], meters_factors: Sequence[float]) -> LayoutValues:
        """Decode replies; `meters_factors` are the factors of their meters."""
        matrix = np.empty((len(replies), len(self.series)))
        found = LayoutValues(matrix, np.empty_like(matrix, dtype=bool))
        factors = Factors.of(meters_factors)
        for first in range(0, len(replies), _METERS_AT_ONCE):
            some = slice(first, first + _METERS_AT_ONCE)
            part = LayoutValues(matrix[some], found.present[some])
            self._decode_into(part, replies[some], factors.part(some) if factors else None)
            found.notices += [(first + index, line) for index, line in part.notices]
        found.notices += [(index, line) for index in range(len(replies)) for line in self._notices]
        return found

    def _decode_into(
        self, part: LayoutValues, replies: Sequence[tuple[RegisterBlock, ...]], factors: Factors | None
    ) -> None:
        words = Words(b"".join([block.data for blocks in replies for block in blocks]), len(replies))
        own = len(self._stored.placed)
        divided = self._stored.fill(part.matrix, part.present, words, replies, factors)
        part.notices += divided.notices
        if not self._sums:
            return
        hidden = np.empty((len(replies), len(self._hidden.placed)))
        hidden_present = np.empty_like(hidden, dtype=bool)
        hidden_divided = self._hidden.fill(hidden, hidden_present, words, replies, factors)
        part.notices += hidden_divided.notices
        matrices = [(part.matrix, part.present, divided), (hidden, hidden_present, hidden_divided)]
        part.notices += self._sums.add_into(part.matrix[:, own:], part.present[:, own:], matrices)
