"""The energy of hours, from readings (pure)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from emm_pipeline.energy.amounts import kwh_of
from emm_pipeline.energy.costs import billed_series, costs
from emm_pipeline.energy.curves import counter_curves, may_count_down, raw_curves, suspicious
from emm_pipeline.energy.intervals import CurveReader
from emm_pipeline.energy.powers import power_curves
from emm_pipeline.energy.records import Counter, Energies, Flag, Readings
from emm_pipeline.energy.windows import window_of, windows_with

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

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
    """The energy of intervals, and until when it is known.

    `last`: the last reading of each series that is judged; if it is before the end of the intervals, the energy of the
    series is not complete yet.
    """

    energies: Energies
    last: Mapping[Series, int]


def compute(measured: Measured, known: Known, edges: Sequence[int]) -> Computed:
    """Return the energy of the intervals between the edges.

    Args:
        measured: The readings of the windows of all intervals; others change nothing.
        known: Counters, tariffs and the usual time between readings.
        edges: In milliseconds, ascending.
    """
    energies: list[Energies] = []
    last: dict[Series, int] = {}
    if measured.counter_series:
        _add_counters(measured, known, edges, energies, last)
    if measured.power_series:
        series = measured.power_series
        reader = CurveReader(power_curves(measured.powers), len(series), known.usual_ms)
        energies.append(_energies(reader, series, known, edges))
        last |= _last(reader, series)
    joined = Energies.joined(energies)
    return Computed(joined[np.lexsort((joined.start, joined.code))], last)


def counters_of(measured: Measured, known: Known) -> list[Counter]:
    """Return what is known of each counter."""
    return [known.counters.get(series, _UNKNOWN) for series in measured.counter_series]


def _add_counters(
    measured: Measured, known: Known, edges: Sequence[int], energies: list[Energies], last: dict[Series, int]
) -> None:
    """Add the energies of counters: all at once, but by interval where the window has a reading to be judged."""
    series, readings, counters = measured.counter_series, measured.counters, counters_of(measured, known)
    reader = CurveReader(raw_curves(readings), len(series), known.usual_ms)
    rows_to_judge = suspicious(readings, counters) | may_count_down(readings, counters)
    judged = _of_meters(windows_with(rows_to_judge, readings, edges, len(series)), series)
    rows = _energies(reader, series, known, edges)
    is_judged = judged[rows.code, np.searchsorted(edges, rows.start)]
    last |= _last(reader, series)
    parts = [rows[:0]]
    for column in np.flatnonzero(judged.any(axis=0)).tolist():
        codes = np.flatnonzero(judged[:, column]).tolist()
        interval = edges[column : column + 2]
        window, at_end = window_of(readings, codes, *interval)
        curves = counter_curves(window, [counters[code] for code in codes])
        part = CurveReader(curves, len(codes), known.usual_ms)
        names = [series[code] for code in codes]
        parts.append(_energies(part, names, known, interval))
        for number in curves.unsettled[at_end[curves.unsettled]].tolist():
            name = names[number]
            last[name] = min(last[name], _last(part, names)[name])
    of_windows = Energies.joined(parts)
    energies += [rows[~is_judged], of_windows, _nothing(rows[is_judged], of_windows)]


def _of_meters(rows: NDArray[np.bool_], series: Sequence[Series]) -> NDArray[np.bool_]:
    """Return rows by series in which all series of a meter are alike: which of them is billed depends on the others."""
    meters, number = np.unique([each.meter_id for each in series], return_inverse=True)
    found = np.zeros((len(meters), rows.shape[1]), bool)
    np.logical_or.at(found, number, rows)
    result: NDArray[np.bool_] = found[number]
    return result


def _nothing(rows: Energies, others: Energies) -> Energies:
    """Return rows that others do not have, without energy: all of their readings were left out.

    They replace what is stored of the time when it was not known yet that the readings are wrong.
    """
    first = min(rows.start.tolist(), default=0)
    span = max([1, *(rows.start - first + 1).tolist()])
    lacking = rows[~np.isin(rows.code * span + rows.start - first, others.code * span + others.start - first)]
    zeros = np.zeros(len(lacking))
    cost = np.where(np.isnan(lacking.cost), np.nan, 0.0)
    whole = zeros.astype(np.int64)
    flags = np.full(len(lacking), int(Flag.INCOMPLETE))
    return replace(lacking, energy=zeros, coverage=zeros, cost=cost, estimated=zeros, readings=whole, flags=flags)


def _last(reader: CurveReader, series: Sequence[Series]) -> dict[Series, int]:
    ends = reader.last_times()
    return {series[index]: int(ends[index]) for index in np.flatnonzero(ends > np.iinfo(np.int64).min).tolist()}


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
