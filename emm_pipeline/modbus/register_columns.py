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
    """The decoding of some registers, each a column of a matrix.

    `further_columns` columns follow, which are filled later: steps over whole rows are faster than over parts of rows.
    """

    def __init__(self, placed: Sequence[PlacedRegister], further_columns: int = 0) -> None:
        self.placed = placed
        self.conversion = Conversion(placed, further_columns)
        self._copied = [position for position, each in enumerate(placed) if each.copies]

    def fill(
        self,
        values: NDArray[np.float64],
        present: NDArray[np.bool_],
        words: Words,
        replies: Sequence[tuple[RegisterBlock, ...]],
        meters_factors: Factors | None,
    ) -> Divided:
        """Fill the registers' columns in the matrices of values and of their presence; a row for each reply.

        Returns:
            The divisors of the values, and why values are absent.
        """
        raws = [each.raw.of(words) for each in self.placed]
        divided = self.conversion.fill(values, raws, words, meters_factors)
        np.isfinite(values, out=present)
        for position in self.conversion.with_absent:
            self.placed[position].raw.drop_absent(raws[position], present[:, position])
        if self._copied:
            orders = np.array([[block.order for block in blocks] for blocks in replies])
            for position in self._copied:
                divided.notices += self._drop_changed(position, present, words, orders)
        return divided

    def _drop_changed(
        self, position: int, present: NDArray[np.bool_], words: Words, orders: NDArray[np.int_]
    ) -> list[tuple[int, str]]:
        """Drop the values whose companion was not the same before and after them."""
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
