"""Days from hours, and months from days (pure).

The energy of a day is exactly the sum of its hours: see `amounts`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from emm_pipeline.energy.records import Energies, Flag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def roll_up(parts: Energies, edges: Sequence[int], part_edges: Sequence[int]) -> Energies:
    """Return the energies of longer intervals.

    Args:
        parts: The rows of shorter intervals, in any order.
        edges: The edges of the longer intervals, in milliseconds.
        part_edges: The edges of the shorter ones, among them all of `edges`.
    """
    inside = (parts.start >= edges[0]) & (parts.start < edges[-1])
    parts = parts[inside]
    if not len(parts):
        return Energies.empty()
    order = np.lexsort((parts.start, parts.code))
    parts = parts[order]
    starts = np.array(part_edges[:-1], np.int64)
    lengths = np.diff(part_edges)
    part = np.searchsorted(starts, parts.start, "right") - 1
    whole = np.searchsorted(edges, parts.start, "right") - 1
    new = np.ones(len(parts), bool)
    new[1:] = (parts.code[1:] != parts.code[:-1]) | (whole[1:] != whole[:-1])
    first = np.flatnonzero(new)
    covered = np.add.reduceat(parts.coverage * lengths[part], first)
    whole_lengths = np.diff(edges)[whole[first]]
    estimated = _estimated(parts, first)
    flags = np.bitwise_or.reduceat(parts.flags, first) & ~int(Flag.ESTIMATED | Flag.INCOMPLETE)
    flags |= np.where(estimated != 0, int(Flag.ESTIMATED), 0)
    flags |= np.where(_is_incomplete(parts, first, np.array(edges), whole, starts), int(Flag.INCOMPLETE), 0)
    return Energies(
        parts.series,
        parts.code[first],
        np.array(edges, np.int64)[whole[first]],
        np.add.reduceat(parts.energy, first),
        np.minimum(covered / whole_lengths, 100.0),
        np.add.reduceat(parts.cost, first),
        estimated,
        np.add.reduceat(parts.readings, first),
        flags,
    )


def _ends(first: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    return np.append(first[1:], count)


def _estimated(parts: Energies, first: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the estimated energy of each group: that of the parts at its beginning and its end.

    A gap between two readings that are both within the longer interval needs no estimate there.
    """
    is_exact = parts.estimated == 0
    result = np.zeros(len(first))
    for number, (begin, end) in enumerate(zip(first.tolist(), _ends(first, len(parts)).tolist(), strict=True)):
        group = is_exact[begin:end]
        if group[0] and group[-1]:
            continue
        exact = np.flatnonzero(group)
        values = parts.estimated[begin:end]
        if not len(exact):
            result[number] = values.sum()
        else:
            result[number] = values[: exact[0]].sum() + values[exact[-1] + 1 :].sum()
    return result


def _is_incomplete(
    parts: Energies,
    first: NDArray[np.intp],
    edges: NDArray[np.int64],
    whole: NDArray[np.intp],
    starts: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Return which groups lack a part, or have an incomplete one."""
    incomplete = np.bitwise_or.reduceat(parts.flags & int(Flag.INCOMPLETE), first) != 0
    wanted = np.searchsorted(starts, edges[1:]) - np.searchsorted(starts, edges[:-1])
    found = np.diff(np.append(first, len(parts)))
    result: NDArray[np.bool_] = incomplete | (found < wanted[whole[first]])
    return result
