"""Which readings the energy of an interval depends on, and which intervals a reading can change (pure).

The energy of an interval is computed from the readings of its window only: those of AROUND_MS before it and after the
first reading at or after its end, and the next NEIGHBOURS beyond. So it is the same whenever it is computed, alone or
in a backfill, once these readings are there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from emm_pipeline.energy.records import HOUR_MS, Readings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

AROUND_MS = 5 * HOUR_MS // 4
"""Time before and after an interval whose readings belong to its window: more than a fall needs to be judged."""
NEIGHBOURS = 5
"""Number of readings before and after this time that belong to it as well: those beyond a gap."""


def windows(
    time: NDArray[np.int64], begins: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the windows of intervals: the index of the first reading of each, and that after its last one.

    Args:
        time: The readings of one series, in milliseconds, ascending.
        begins: Beginnings of the intervals.
        ends: Their ends.
    """
    first = np.maximum(np.searchsorted(time, begins - AROUND_MS) - NEIGHBOURS, 0)
    after = np.searchsorted(time, ends)
    known = np.append(time, np.iinfo(np.int64).max)[after]
    until = np.where(after < len(time), known, ends) + AROUND_MS
    return first, np.minimum(np.searchsorted(time, until) + NEIGHBOURS, len(time))


def series_of(readings: Readings) -> Iterator[tuple[int, slice]]:
    """Yield each series that has readings, and its rows."""
    codes, first = np.unique(readings.series, return_index=True)
    ends = np.append(first, len(readings))[1:]
    for code, begin, end in zip(codes.tolist(), first.tolist(), ends.tolist(), strict=True):
        yield code, slice(begin, end)


def windows_with(rows: NDArray[np.bool_], readings: Readings, edges: Sequence[int], series: int) -> NDArray[np.bool_]:
    """Return, by series and interval, whether the window of the interval has one of some rows.

    Args:
        rows: The rows of `readings` in question.
        readings: The readings of all series.
        edges: The edges of the intervals.
        series: Number of series.
    """
    bounds = np.array(edges, np.int64)
    found = np.zeros((series, len(edges) - 1), bool)
    having = set(np.unique(readings.series[rows]).tolist())
    for code, of_series in series_of(readings):
        if code in having:
            first, end = windows(readings.time[of_series], bounds[:-1], bounds[1:])
            count = np.concatenate([[0], np.cumsum(rows[of_series])])
            found[code] = count[end] > count[np.minimum(first, end)]
    return found


def window_of(readings: Readings, series: Sequence[int], begin: int, end: int) -> tuple[Readings, NDArray[np.bool_]]:
    """Return the windows of an interval, with the series numbered as given, and which of them are the series' end."""
    parts = []
    at_end = np.zeros(len(series), bool)
    bounds = np.array([begin], np.int64), np.array([end], np.int64)
    first_of, end_of = (np.searchsorted(readings.series, series, side) for side in ("left", "right"))
    for number, (low, high) in enumerate(zip(first_of.tolist(), end_of.tolist(), strict=True)):
        first, last = windows(readings.time[low:high], *bounds)
        at_end[number] = last[0] == high - low
        parts.append(np.arange(low + int(first[0]), low + int(last[0])))
    rows = np.concatenate(parts)
    numbers = np.repeat(np.arange(len(series)), [len(part) for part in parts])
    return Readings(numbers, readings.time[rows], readings.value[rows]), at_end


@dataclass(slots=True)
class Reach:
    """The time that some readings can change: intervals that begin until `until` and end after `since`.

    `beyond`: the series of which the reading at or before `since` is not known. The intervals since then may change.
    """

    since: int
    until: int
    beyond: dict[int, int] = field(default_factory=dict)

    def add(self, code: int, time: NDArray[np.int64], first: int | None, last: int | None) -> None:
        """Extend it by what the readings from `first` to `last` (indices) of a series can change; None is not asked."""
        if last is not None:
            self.until = max(self.until, int(time[min(last + NEIGHBOURS, len(time) - 1)]) + AROUND_MS)
        if first is not None:
            since = int(time[max(first - NEIGHBOURS, 0)]) - AROUND_MS
            before = int(np.searchsorted(time, since, "right")) - 1
            if before < 0:
                self.beyond[code] = since
            self.since = min(self.since, int(time[before]) if before >= 0 else since)


def reach_of_all(readings: Readings, begin: int, end: int, whole: tuple[int, int]) -> Reach:
    """Return what the readings from `begin` until before `end`, a part of a whole time, can change beyond the whole."""
    found = Reach(*whole)
    for code, rows in series_of(readings):
        time = readings.time[rows]
        first, after = np.searchsorted(time, [begin, end]).tolist()
        if first < after:
            is_first = first == 0 or time[first - 1] < whole[0]
            is_last = after == len(time) or time[after] >= whole[1]
            found.add(code, time, first if is_first else None, after - 1 if is_last else None)
    return found


def reach_before(rows: NDArray[np.bool_], readings: Readings, begin: int) -> Reach:
    """Return what some rows can change before a time, if they are in the windows of intervals that begin then."""
    found = Reach(begin, begin)
    having = set(np.unique(readings.series[rows]).tolist())
    moment = np.array([begin], np.int64)
    for code, of_series in series_of(readings):
        if code in having:
            time = readings.time[of_series]
            low = int(windows(time, moment, moment)[0][0])
            of_window = np.flatnonzero(rows[of_series][low:])
            if len(of_window):
                found.add(code, time, low + int(of_window[0]), None)
    return found
