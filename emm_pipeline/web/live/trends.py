"""The power of each meter in the last hour, a value per two minutes, in memory. Pure; needs NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

STEP_MS, STEPS = 120_000, 30
"""Duration of a step in milliseconds, and number of steps that are kept."""

_ROWS = 256
"""Rows by which the table grows."""


class Trends:
    """The mean of each step for each meter. Times are in milliseconds since 1970."""

    def __init__(self) -> None:
        self._rows: dict[int, int] = {}
        self._sums = np.zeros((0, STEPS))
        self._counts = np.zeros((0, STEPS), np.int32)
        self._steps = np.zeros((0, STEPS), np.int64)

    def add(self, meter_id: int, time: int, value: float) -> None:
        """Add a value; one that is older than the kept time changes nothing."""
        row, step = self._row(meter_id), time // STEP_MS
        place = step % STEPS
        if self._steps[row, place] > step:
            return
        if self._steps[row, place] < step:
            self._steps[row, place], self._sums[row, place], self._counts[row, place] = step, 0.0, 0
        self._sums[row, place] += value
        self._counts[row, place] += 1

    def of(self, meter_id: int, now: int) -> list[float | None]:
        """Return the values of the last hour, oldest first; None for a step without a value."""
        row = self._rows.get(meter_id)
        if row is None:
            return [None] * STEPS
        last = now // STEP_MS
        wanted = np.arange(last - STEPS + 1, last + 1)
        places = wanted % STEPS
        known = (self._steps[row, places] == wanted) & (self._counts[row, places] > 0)
        means: NDArray[np.float64] = self._sums[row, places] / np.maximum(self._counts[row, places], 1)
        return [float(mean) if is_known else None for mean, is_known in zip(means, known, strict=True)]

    def _row(self, meter_id: int) -> int:
        row = self._rows.setdefault(meter_id, len(self._rows))
        if row >= len(self._sums):
            self._sums = np.vstack([self._sums, np.zeros((_ROWS, STEPS))])
            self._counts = np.vstack([self._counts, np.zeros((_ROWS, STEPS), np.int32)])
            self._steps = np.vstack([self._steps, np.zeros((_ROWS, STEPS), np.int64)])
        return row


def points_of(values: list[float | None], width: int, height: int) -> list[str]:
    """Return the values as lines for an SVG: coordinates `x,y` separated by spaces, a line for each run of values."""
    known = [value for value in values if value is not None]
    if not known:
        return []
    low, high = min(known), max(known)
    span = (high - low) or 1.0
    lines: list[list[str]] = [[]]
    for place, value in enumerate(values):
        if value is None:
            lines.append([])
            continue
        x = round(place * width / max(len(values) - 1, 1))
        y = round(height - 1 - (value - low) / span * (height - 2)) if high > low else height // 2
        lines[-1].append(f"{x},{y}")
    return [" ".join(line if len(line) > 1 else [*line, *line]) for line in lines if line]
