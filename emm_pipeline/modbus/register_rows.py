"""The values of a type's registers from the words of replies: a row for each register. Pure, and vectorised."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from emm_pipeline.modbus.converting import Conversion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from emm_pipeline.modbus.converting import Divided
    from emm_pipeline.modbus.placing import PlacedRegister
    from emm_pipeline.modbus.scaling import Factors
    from emm_pipeline.modbus.words import Words
    from emm_pipeline.readings import RegisterBlock


class RegisterRows:
    """The decoding of registers, given by row: the values of one register are next to each other in memory."""

    def __init__(self, placed: Mapping[int, PlacedRegister]) -> None:
        self.placed = placed
        self.conversion = Conversion(placed)
        self._copied = {row: each for row, each in placed.items() if each.copies}

    def fill(
        self,
        rows: NDArray[np.float64],
        words: Words,
        replies: Sequence[tuple[RegisterBlock, ...]],
        meters_factors: Factors | None,
    ) -> Divided:
        """Write the values of the registers into their rows, which have a column for each reply; NaN for absent ones.

        Returns:
            The divisors of the values, and why values are absent.
        """
        divided = self.conversion.fill(rows, words, meters_factors)
        if self._copied:
            orders = np.array([[block.order for block in blocks] for blocks in replies])
            for row, placed in self._copied.items():
                divided.notices += _clear_changed(placed, rows[row], words, orders)
        return divided


def _clear_changed(
    placed: PlacedRegister, row: NDArray[np.float64], words: Words, orders: NDArray[np.int_]
) -> list[tuple[int, str]]:
    """Write NaN in place of values whose companion was not the same before and after them, and return the reasons."""
    notices = []
    for copies in placed.copies:
        orders_of_copies, order = orders[:, copies.blocks], orders[:, placed.block]
        is_between = (orders_of_copies.min(axis=1) < order) & (order < orders_of_copies.max(axis=1))
        first, *others = (raw.of(words) for raw in copies.raws)
        same = np.logical_and.reduce([first == other for other in others]) & is_between
        for index in np.flatnonzero(~same & np.isfinite(row)).tolist():
            what = "changed while it was read" if is_between[index] else "was not read before and after it"
            notices.append((index, f"left out: {placed.register.measurement_name}, since its {copies.what} {what}"))
        row[~same] = np.nan
    return notices
