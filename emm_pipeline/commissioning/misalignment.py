"""Recognize floats that are read one register off (pure).

In the other word order, such a float is nearly right: its upper half, with sign and exponent, is the right one, and its
lower half belongs to the value beside it. The ends of each run of registers show it: the first lower half is that of no
value, so it is 0, and the last true one is beyond the run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emm_pipeline.fleet import DataType, Order

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from emm_pipeline.fleet import Register

    Place = tuple[int, int]


LEAST_SHARE = 0.5
"""Least share of the registers beyond the runs that are not 0; the lower half of a round number is."""


class FloatEdges:
    """The ends of the runs of a type's floats."""

    def __init__(self, registers: Sequence[Register]) -> None:
        own = {
            (int(each.function_code), address)
            for each in registers
            for address in range(each.register_address, each.end)
        }
        self._lower: list[tuple[Place, Place]] = []
        """The upper and the lower half of each float whose lower half is at the end of a run."""
        self._beyond: list[tuple[Place, Place]] = []
        """The upper half of each float at the other end, and the register beyond it."""
        for each in registers:
            if each.data_type is not DataType.FLOAT:
                continue
            code, address = int(each.function_code), each.register_address
            is_low_first = each.word_order is Order.LITTLE_ENDIAN
            upper, lower = (code, address + is_low_first), (code, address + (not is_low_first))
            before, behind = (code, address - 1), (code, address + 2)
            outer, beyond = (before, behind) if is_low_first else (behind, before)
            if outer not in own:
                self._lower.append((upper, lower))
            if beyond not in own and beyond[1] >= 0:
                self._beyond.append((upper, beyond))

    @property
    def beside(self) -> frozenset[Place]:
        """The registers beside those of the type that must be known."""
        return frozenset(beyond for _, beyond in self._beyond)

    def are_misaligned(self, words: Mapping[Place, int]) -> bool:
        """Whether the floats of a unit with these registers are read one register off."""
        lower = [words.get(low) for upper, low in self._lower if words.get(upper)]
        beyond = [words.get(place) for upper, place in self._beyond if words.get(upper)]
        if not lower or not beyond or None in lower or any(lower):
            return False
        return sum(map(bool, beyond)) >= LEAST_SHARE * len(beyond)
