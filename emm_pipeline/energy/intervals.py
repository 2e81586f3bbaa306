"""From curves to intervals: what flowed, for how much of the time it is known, and what is special about it (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from emm_pipeline.energy.amounts import share
from emm_pipeline.energy.records import Flag

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emm_pipeline.energy.records import Curves


@dataclass(frozen=True, slots=True, eq=False)
class Intervals:
    """One row per series and one column per interval, in which a meter may be absent (`known` is false).

    Energies are in the units of `amounts`, `covered` is in milliseconds.
    """

    known: NDArray[np.bool_]
    energy: NDArray[np.int64]
    covered: NDArray[np.int64]
    estimated: NDArray[np.int64]
    readings: NDArray[np.int64]
    flags: NDArray[np.int64]


class CurveReader:
    """Reads curves at any time.

    Args:
        curves: The curves.
        series: Number of series.
        usual_ms: Longest usual time between two readings. The meter is not covered in a longer one.
    """

    def __init__(self, curves: Curves, series: int, usual_ms: int) -> None:
        self._curves = curves
        self._first, self._end = np.searchsorted(curves.series, [np.arange(series), np.arange(1, series + 1)])
        self._elapsed = np.diff(curves.time, prepend=curves.time[:1])
        self._total = np.cumsum(curves.gain)
        self._is_gap = self._elapsed > usual_ms
        self._is_gap[self._first[self._first < self._end]] = False
        self._gap_total = np.cumsum(np.where(self._is_gap, curves.gain, 0))
        usual = np.where(self._is_gap, 0, self._elapsed)
        usual[self._first[self._first < self._end]] = 0
        self._covered_total = np.cumsum(usual)

    def energies(self, edges: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the energy between each two edges (milliseconds, ascending), one row per series."""
        return np.diff(_read(self._total, self._curves.gain, self._places(edges)), axis=1)

    def intervals(self, edges: NDArray[np.int64]) -> Intervals:
        """Return all of the intervals between edges (milliseconds, ascending)."""
        curves, places = self._curves, self._places(edges)
        first, end = self._first[:, None], self._end[:, None]
        at_or_after = np.clip(self._search(edges, "left"), first, end)
        readings = np.diff(at_or_after, axis=1)
        begin, until = self._extent()
        known = (begin[:, None] < edges[1:]) & (until[:, None] > edges[:-1]) | (readings > 0)
        gap_gain = np.where(self._is_gap, curves.gain, 0)
        in_gaps = np.diff(_read(self._gap_total, gap_gain, places), axis=1)
        estimated = np.where(known, in_gaps - self._whole_gaps(places, at_or_after), 0)
        covered = np.diff(self._covered(places), axis=1)
        flags = np.where(estimated != 0, int(Flag.ESTIMATED), 0)
        is_incomplete = (begin[:, None] > edges[:-1]) | (until[:, None] < edges[1:])
        flags |= np.where(is_incomplete, int(Flag.INCOMPLETE), 0)
        self._add_flags(flags, edges)
        return Intervals(known, self.energies(edges), covered, estimated, readings, np.where(known, flags, 0))

    def last_times(self) -> NDArray[np.int64]:
        """Return the time of the last reading of each series; the lowest integer without any."""
        return self._extent()[1]

    def _extent(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the times of the first and the last reading of each series."""
        bounds = np.iinfo(np.int64)
        times = np.append(self._curves.time, 0)
        has = self._first < self._end
        return np.where(has, times[self._first], bounds.max), np.where(has, times[self._end - 1], bounds.min)

    def _search(self, edges: NDArray[np.int64], side: str) -> NDArray[np.intp]:
        """Return, per series and edge, the index of the first reading at or after (left), or after (right) the edge."""
        curves = self._curves
        if not len(curves.time):
            return np.zeros((len(self._first), len(edges)), np.intp)
        base = min(int(curves.time.min()), int(edges[0])) - 1
        span = max(int(curves.time.max()), int(edges[-1])) - base + 2
        keys = curves.series * span + (curves.time - base)
        wanted = np.arange(len(self._first))[:, None] * span + (edges - base)
        return np.searchsorted(keys, wanted, "left" if side == "left" else "right")

    def _places(self, edges: NDArray[np.int64]) -> _Places:
        """Return where the edges are between the readings; an edge before the first one is at the first one."""
        times = self._curves.time
        if not len(times):
            nothing = np.zeros((len(self._first), len(edges)), np.int64)
            return _Places(nothing, nothing, nothing, nothing + 1)
        last = np.maximum(self._end - 1, 0)[:, None]
        index = np.minimum(np.maximum(self._search(edges, "right") - 1, self._first[:, None]), last)
        next_ = np.minimum(index + 1, last)
        elapsed = times[next_] - times[index]
        since = np.clip(edges - times[index], 0, np.maximum(elapsed, 0))
        return _Places(index, next_, since, np.maximum(elapsed, 1))

    def _covered(self, places: _Places) -> NDArray[np.int64]:
        if not len(self._covered_total):
            return places.index
        usual = ~self._is_gap[places.next]
        return self._covered_total[places.index] + np.where(usual, places.since, 0)

    def _whole_gaps(self, places: _Places, at_or_after: NDArray[np.intp]) -> NDArray[np.int64]:
        """Return the energy of the gaps that are whole in an interval, which needs no estimate."""
        if not len(self._gap_total):
            return np.zeros((len(self._first), places.index.shape[1] - 1), np.int64)
        last, first = places.index[:, 1:], np.minimum(at_or_after[:, :-1], len(self._gap_total) - 1)
        return np.where(last > first, self._gap_total[last] - self._gap_total[first], 0)

    def _add_flags(self, flags: NDArray[np.int64], edges: NDArray[np.int64]) -> None:
        """Add the flags of curves to all intervals that their time touches."""
        curves, count = self._curves, len(edges) - 1
        flagged = np.flatnonzero(curves.flags)
        begin = np.searchsorted(edges, curves.time[flagged - 1], "right") - 1
        until = np.searchsorted(edges, curves.time[flagged], "left") - 1
        begin, until = np.maximum(begin, 0), np.minimum(until, count - 1)
        for column in range(count):
            rows = flagged[(begin <= column) & (column <= until)]
            np.bitwise_or.at(flags[:, column], curves.series[rows], curves.flags[rows])
        column_of = np.searchsorted(edges, curves.glitch_time, "right") - 1
        inside = (column_of >= 0) & (column_of < count)
        np.bitwise_or.at(flags, (curves.glitch_series[inside], column_of[inside]), int(Flag.GLITCH))


@dataclass(frozen=True, slots=True, eq=False)
class _Places:
    """For each series and edge: the reading at or before it, the next one, the time since, and the time between."""

    index: NDArray[np.int64]
    next: NDArray[np.int64]
    since: NDArray[np.int64]
    elapsed: NDArray[np.int64]


def _read(total: NDArray[np.int64], gain: NDArray[np.int64], places: _Places) -> NDArray[np.int64]:
    """Return a cumulative column at places between its rows."""
    if not len(total):
        return np.zeros_like(places.index)
    between = np.where(places.next > places.index, gain[places.next], 0)
    return total[places.index] + share(between, places.since, places.elapsed)
