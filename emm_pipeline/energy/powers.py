"""From the readings of powers to energy, for meters without a counter (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from emm_pipeline.energy.amounts import energy_of
from emm_pipeline.energy.records import HOUR_MS, Curves, Flag

if TYPE_CHECKING:
    from emm_pipeline.energy.records import Readings

LONGEST_MS = HOUR_MS
"""Maximum time between two readings over which a power is integrated. What flowed in a longer one is not known."""

LARGEST_KW = 1e9


def power_curves(readings: Readings) -> Curves:
    """Return the curve of each power: the mean of two readings, times the time between them.

    Args:
        readings: In kW. A negative power gives a negative energy.
    """
    usable = np.isfinite(readings.value) & (np.abs(readings.value) <= LARGEST_KW)
    series, time, power = readings.series[usable], readings.time[usable], readings.value[usable]
    elapsed = np.diff(time, prepend=time[:1])
    mean = (power + np.concatenate([power[:1], power[:-1]])) / 2
    starts = np.ones(len(series), bool)
    starts[1:] = series[1:] != series[:-1]
    gain = energy_of(np.where(starts | (elapsed > LONGEST_MS), 0.0, mean * elapsed / HOUR_MS))
    flags = np.where(starts, 0, int(Flag.POWER))
    nothing = np.zeros(0, np.int64)
    return Curves(series, time, gain, flags, nothing, nothing, nothing)
