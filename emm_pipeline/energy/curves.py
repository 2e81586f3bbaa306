"""From the readings of counters to the energy at each accepted reading (pure).

Counters without any event, nearly all of them, are handled together as columns; the others one by one by `scanning`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from emm_pipeline.energy.amounts import LARGEST_KWH, energy_of
from emm_pipeline.energy.records import HOUR_MS, Counter, Curves
from emm_pipeline.energy.rises import USUAL_POWER
from emm_pipeline.energy.scanning import Scan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from emm_pipeline.energy.records import Readings


def counter_curves(readings: Readings, counters: Sequence[Counter]) -> Curves:
    """Return the curve of each counter.

    Args:
        readings: In kWh (kvarh, kVAh).
        counters: By series index.
    """
    usable = _usable(readings)
    series, time = readings.series[usable], readings.time[usable]
    value = energy_of(readings.value[usable])
    down = _count_down(series, value, counters)
    value = np.where(down[series], -value, value) if len(series) else value
    starts = _first_of_each(series)
    gain = np.diff(value, prepend=value[:1])
    gain[starts] = 0
    to_judge = _suspicious(series, time, value, gain, counters) & ~starts
    flags = np.zeros(len(series), np.int64)
    keep = np.ones(len(series), bool)
    glitches: list[int] = []
    unsettled: list[int] = []
    for code in np.unique(series[to_judge]).tolist():
        first, end = np.searchsorted(series, [code, code + 1])
        rows = slice(int(first), int(end))
        judged = Scan(time[rows].tolist(), value[rows].tolist(), counters[code]).run()
        kept = np.array(judged.kept) + first
        keep[rows] = False
        keep[kept] = True
        gain[kept], flags[kept] = judged.gains, judged.flags
        glitches += [int(first) + each for each in judged.glitches]
        if judged.unsettled:
            unsettled.append(code)
    gain = np.where(down[series], -gain, gain) if len(series) else gain
    left_out = np.array(sorted(glitches), np.intp)
    return Curves(
        series[keep],
        time[keep],
        gain[keep],
        flags[keep],
        series[left_out],
        time[left_out],
        np.array(unsettled, np.int64),
    )


def raw_curves(readings: Readings) -> Curves:
    """Return the curve of each counter without a judgement, for windows without `suspicious` readings."""
    usable = _usable(readings)
    series, value = readings.series[usable], energy_of(readings.value[usable])
    gain = np.diff(value, prepend=value[:1])
    gain[_first_of_each(series)] = 0
    nothing = np.zeros(0, np.int64)
    return Curves(series, readings.time[usable], gain, np.zeros(len(series), np.int64), nothing, nothing, nothing)


def suspicious(readings: Readings, counters: Sequence[Counter]) -> NDArray[np.bool_]:
    """Return which readings may need a judgement: falls, rises that cannot be, and rises from 0."""
    rows = np.zeros(len(readings), bool)
    usable = _usable(readings)
    series, value = readings.series[usable], energy_of(readings.value[usable])
    if not len(series):
        return rows
    value = np.where(_count_down(series, value, counters)[series], -value, value)
    gain = np.diff(value, prepend=value[:1])
    from_0 = np.zeros(len(series), bool)
    from_0[1:] = (value[:-1] == 0) & (gain[1:] > 0)
    may = _suspicious(series, readings.time[usable], value, gain, counters) | from_0
    rows[usable] = may & ~_first_of_each(series)
    return rows


def may_count_down(readings: Readings, counters: Sequence[Counter]) -> NDArray[np.bool_]:
    """Return the readings of counters that may count down, of which each window is judged."""
    down = np.array([counter.counts_down for counter in counters], bool)
    down[readings.series[readings.value < 0]] = True
    result: NDArray[np.bool_] = down[readings.series]
    return result


def _usable(readings: Readings) -> NDArray[np.bool_]:
    result: NDArray[np.bool_] = np.isfinite(readings.value) & (np.abs(readings.value) <= LARGEST_KWH)
    return result


def _first_of_each(series: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which rows are the first of their series."""
    starts = np.ones(len(series), bool)
    starts[1:] = series[1:] != series[:-1]
    return starts


def _count_down(series: NDArray[np.int64], value: NDArray[np.int64], counters: Sequence[Counter]) -> NDArray[np.bool_]:
    """Return which series fall while energy flows: as configured, or because most values are below 0 and falling."""
    down = np.array([counter.counts_down for counter in counters], bool)
    if not len(series):
        return down
    negative = np.bincount(series, value < 0, len(counters))
    positive = np.bincount(series, value > 0, len(counters))
    change = np.zeros(len(series))
    change[1:] = np.sign(np.diff(value)) * (series[1:] == series[:-1])
    rising = np.bincount(series, change, len(counters))
    return np.where(down, negative >= positive, (negative > positive) & (rising <= 0))


def _suspicious(
    series: NDArray[np.int64],
    time: NDArray[np.int64],
    value: NDArray[np.int64],
    gain: NDArray[np.int64],
    counters: Sequence[Counter],
) -> NDArray[np.bool_]:
    """Return which rows may need judgement: rises that cannot be, falls, and rises from 0."""
    if not len(series):
        return np.zeros(0, bool)
    power = np.array([counter.max_power or USUAL_POWER for counter in counters], np.float64)[series]
    step = np.array([counter.step for counter in counters], np.float64)[series]
    elapsed = np.maximum(np.diff(time, prepend=time[:1]), HOUR_MS)
    from_0 = np.zeros(len(series), bool)
    from_0[1:] = value[:-1] == 0
    return (gain < 0) | (gain > np.floor(power * (elapsed / HOUR_MS) + 2 * step) - 1) | (from_0 & (gain > 10 * step))
