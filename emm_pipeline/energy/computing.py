"""The energy of hours, from readings (pure)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from emm_pipeline.energy.amounts import kwh_of
from emm_pipeline.energy.costs import billed_series, costs
from emm_pipeline.energy.curves import counter_curves
from emm_pipeline.energy.intervals import CurveReader
from emm_pipeline.energy.powers import power_curves
from emm_pipeline.energy.records import Counter, Energies, Flag, Readings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from emm_pipeline.energy.prices import Tariff
    from emm_pipeline.energy.records import Series

_UNKNOWN = Counter()


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """The readings of counters, and those of the powers of meters without a counter, each with its series."""

    counter_series: Sequence[Series]
    counters: Readings
    power_series: Sequence[Series] = ()
    powers: Readings = field(
        default_factory=lambda: Readings(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    )

    def __len__(self) -> int:
        return len(self.counters) + len(self.powers)


@dataclass(frozen=True, slots=True)
class Known:
    """Knowledge besides readings: the counters by series, tariffs by meter id, and the usual time between readings.

    A time between two readings that is longer than `usual_ms` is a gap.
    """

    counters: Mapping[Series, Counter] = field(default_factory=dict)
    tariffs: Mapping[int, Tariff] = field(default_factory=dict)
    usual_ms: int = 300_000


@dataclass(frozen=True, slots=True)
class Computed:
    """The energy of intervals, and the times (milliseconds) on which it depends beyond them.

    `reach`: the last reading before the intervals of any series with a reading in them, and the first one after them.
    The intervals in between have a part of the same energy. `last`: the last accepted reading of each series; if it is
    before the end of the intervals, the energy of the series is not complete yet.
    """

    energies: Energies
    reach: tuple[int, int]
    last: Mapping[Series, int]


def compute(measured: Measured, known: Known, edges: Sequence[int]) -> Computed:
    """Return the energy of the intervals between the edges.

    Args:
        measured: Readings of the intervals, and those before and after them.
        known: Counters, tariffs and the usual time between readings.
        edges: In milliseconds, ascending.
    """
    counters = [known.counters.get(series, _UNKNOWN) for series in measured.counter_series]
    parts = (
        (measured.counter_series, counter_curves(measured.counters, counters)),
        (measured.power_series, power_curves(measured.powers)),
    )
    energies = []
    reach = edges[0], edges[-1]
    last: dict[Series, int] = {}
    for series, curves in parts:
        if len(series):
            reader = CurveReader(curves, len(series), known.usual_ms)
            energies.append(_energies(reader, series, known, edges))
            reach = _reach(reader, edges, reach)
            ends = reader.last_times()
            last |= {
                series[index]: int(ends[index]) for index in np.flatnonzero(ends > np.iinfo(np.int64).min).tolist()
            }
    return Computed(Energies.joined(energies), reach, last)


def _energies(reader: CurveReader, series: Sequence[Series], known: Known, edges: Sequence[int]) -> Energies:
    found = reader.intervals(np.array(edges, np.int64))
    cost = costs(reader, series, known.tariffs, edges)
    flags = found.flags.copy()
    billed = np.zeros(len(series), bool)
    billed[list(billed_series(series, known.tariffs))] = True
    flags |= np.where(billed[:, None] & np.isnan(cost), int(Flag.NO_PRICE), 0)
    code, column = np.nonzero(found.known)
    lengths = np.diff(edges)
    return Energies(
        tuple(series),
        code.astype(np.int64),
        np.array(edges[:-1], np.int64)[column],
        kwh_of(found.energy[code, column]),
        100.0 * found.covered[code, column] / lengths[column],
        cost[code, column],
        kwh_of(found.estimated[code, column]),
        found.readings[code, column],
        flags[code, column],
    )


def _reach(reader: CurveReader, edges: Sequence[int], reach: tuple[int, int]) -> tuple[int, int]:
    """Extend a reach to the readings before and after the intervals."""
    before, after = reader.before(edges[0]), reader.after(edges[-1])
    inside = (reader.after(edges[0]) < edges[-1]) & (reader.before(edges[-1]) >= edges[0])
    bounds = np.iinfo(np.int64)
    begins, ends = before[inside & (before > bounds.min)], after[inside & (after < bounds.max)]
    return min([reach[0], *begins.tolist()]), max([reach[1], *ends.tolist()])
