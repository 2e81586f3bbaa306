"""The values of some registers from the words of replies: a matrix with a column per register. Pure, and vectorised."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from emm_pipeline.modbus.converting import Conversion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from emm_pipeline.modbus.converting import Divided
    from emm_pipeline.modbus.placing import PlacedRegister
    from emm_pipeline.modbus.scaling import Factors
    from emm_pipeline.modbus.words import Words
    from emm_pipeline.readings import RegisterBlock


class RegisterColumns:
    """The decoding of some registers, each a column."""

    def __init__(self, placed: Sequence[PlacedRegister]) -> None:
        self.placed = placed
        self.conversion = Conversion(placed)
        self._with_absent = [position for position, each in enumerate(placed) if each.raw.has_absent]
        self._copied = [position for position, each in enumerate(placed) if each.copies]

    def fill(
        self,
        values: NDArray[np.float64],
        present: NDArray[np.bool_],
        words: Words,
        replies: Sequence[tuple[RegisterBlock, ...]],
        meters_factors: Factors | None,
    ) -> Divided:
        """Fill the matrices of values, and of which are present, both of shape (replies, registers).

        Returns:
            By what the values were divided, and why values are absent.
        """
        raws = [each.raw.of(words) for each in self.placed]
        with np.errstate(invalid="ignore"):  # a signalling NaN is absent like any other
            for position, (each, raw) in enumerate(zip(self.placed, raws, strict=True)):
                values[:, position] = each.raw.numbers(raw)
        divided = self.conversion.apply(values, words, meters_factors)
        np.isfinite(values, out=present)
        for position in self._with_absent:
            self.placed[position].raw.drop_absent(raws[position], present[:, position])
        if self._copied:
            orders = np.array([[block.order for block in blocks] for blocks in replies])
            for position in self._copied:
                divided.notices += self._drop_changed(position, present, words, orders)
        return divided

    def _drop_changed(
        self, position: int, present: NDArray[np.bool_], words: Words, orders: NDArray[np.int_]
    ) -> list[tuple[int, str]]:
        """Drop the values whose companion was not the same before and after."""
        placed, notices = self.placed[position], []
        for copy in placed.copies:
            before, after = (orders[:, block] for block in copy.blocks)
            order = orders[:, placed.block]
            is_between = (np.minimum(before, after) < order) & (order < np.maximum(before, after))
            same = (copy.first.of(words) == copy.second.of(words)) & is_between
            for index in np.flatnonzero(~same & present[:, position]).tolist():
                what = "changed while it was read" if is_between[index] else "was not read before and after it"
                line = f"left out: {placed.register.measurement_name}, since its {copy.what} {what}"
                notices.append((index, line))
            present[:, position] &= same
        return notices
