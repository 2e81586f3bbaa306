"""Read what a computation needs from the readings store, and convert its results for the store."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from emm_pipeline.energy.computing import Measured
from emm_pipeline.energy.records import HOUR_MS, Energies, Readings, Series, flags_of, flags_text
from emm_pipeline.energy.units import ENERGY_UNITS, is_energy_counter, kilowatts, unit_of_counter
from emm_pipeline.energy.windows import AROUND_MS, NEIGHBOURS
from emm_pipeline.stores.energy_points import EnergyPoints
from emm_pipeline.stores.history import History, Selection
from emm_pipeline.stores.points import TextColumn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from emm_pipeline.energy.knowledge import Knowledge
    from emm_pipeline.energy.periods import Period
    from emm_pipeline.stores.history import HistoryStore, StoredSeries

RECENT_MS = 24 * HOUR_MS
_MANY_IDS = 50


def read_measured(store: HistoryStore, knowledge: Knowledge, begin: int, end: int, now: int) -> Measured:
    """Return the readings that the intervals from `begin` to `end` (milliseconds) depend on.

    Args:
        store: The readings store.
        knowledge: The configuration.
        begin: Beginning of the intervals.
        end: Their end.
        now: The present time.

    Raises:
        StoreError: The store does not answer.
    """
    counters = _read(store, Selection(ENERGY_UNITS), begin, end, now)
    counter_series, counter_readings = _converted(counters, knowledge)
    powers = []
    for (name, unit), ids in knowledge.powers.items():
        selection = Selection(f"^{unit}$", name, ids if len(ids) <= _MANY_IDS else None)
        powers.append(_only(_read(store, selection, begin, end, now), frozenset(ids)))
    power_series, power_readings = _powers(History.joined(powers))
    return Measured(counter_series, counter_readings, power_series, power_readings)


def _read(store: HistoryStore, selection: Selection, begin: int, end: int, now: int) -> History:
    """Return the readings of the windows of all intervals between two times, at least."""
    first, last, count = begin - AROUND_MS, end + 2 * AROUND_MS, 2 * NEIGHBOURS  # also those before an event
    inside = store.read(selection, first, last)
    if last < now:
        before, after = store.read_before(selection, first, count), store.read_after(selection, last, NEIGHBOURS)
        found = History.joined([inside, before, after])
        return History.joined([found, *_beyond_gaps(store, selection, found, end)])
    # There is nothing after the present, and a series that has been silent for a day needs to be read only once it has
    # a reading again: InfluxDB would open all its files for all series.
    recent = store.read_before(selection, first, count, within=RECENT_MS)
    silent = tuple(sorted({series.id for series in _present(inside) - _present(recent, count)}))
    if not silent:
        return History.joined([inside, recent])
    of_silent = replace(selection, ids=silent if len(silent) <= _MANY_IDS else selection.ids)
    return History.joined([inside, store.read_before(of_silent, first, count), recent])


def _beyond_gaps(store: HistoryStore, selection: Selection, found: History, end: int) -> Iterator[History]:
    """Yield the readings after the first one at or after `end` of each series that has it after AROUND_MS or later."""
    next_of = np.full(len(found.series), np.iinfo(np.int64).max)
    rows = found.time >= end
    np.minimum.at(next_of, found.code[rows], found.time[rows])
    is_late = (next_of >= end + AROUND_MS) & (next_of < np.iinfo(np.int64).max)
    late = sorted((int(next_of[code]), found.series[code].id) for code in np.flatnonzero(is_late).tolist())
    while late:
        first = late[0][0]
        ids = tuple(sorted({id_ for time, id_ in late if time <= first + AROUND_MS}))
        late = [each for each in late if each[0] > first + AROUND_MS]
        some = replace(selection, ids=ids if len(ids) <= _MANY_IDS else selection.ids)
        yield store.read(some, first, first + 2 * AROUND_MS)
        yield store.read_after(some, first + 2 * AROUND_MS, NEIGHBOURS)


def _present(history: History, count: int = 1) -> set[StoredSeries]:
    """Return the series that have some readings, at least."""
    numbers = np.bincount(history.code, minlength=len(history.series)) if len(history) else np.zeros(0, np.int64)
    return {history.series[code] for code in np.flatnonzero(numbers >= count).tolist()}


def _only(history: History, ids: frozenset[int]) -> History:
    wanted = np.array([each.id in ids for each in history.series], bool)
    if not len(wanted) or wanted.all():
        return history
    rows = wanted[history.code]
    return History(history.series, history.code[rows], history.time[rows], history.value[rows])


def _converted(history: History, knowledge: Knowledge) -> tuple[tuple[Series, ...], Readings]:
    """Return the counters among the series, in kWh. A counter whose unit was changed stays one series."""
    known: dict[Series, int] = {}
    codes = np.full(len(history.series), -1, np.int64)
    factors = np.ones(len(history.series))
    for index, each in enumerate(history.series):
        unit = unit_of_counter(each.unit)
        if unit is None or not _is_counted(each, knowledge):
            continue
        codes[index] = known.setdefault(Series(each.id, each.measurement, unit.unit), len(known))
        factors[index] = unit.factor
    return tuple(known), _readings(history, codes, factors)


def _powers(history: History) -> tuple[tuple[Series, ...], Readings]:
    series = tuple(Series(each.id, each.measurement, "kWh") for each in history.series)
    factors = np.array([kilowatts(each.unit) or 0.0 for each in history.series])
    return series, _readings(history, np.arange(len(series)), factors)


def _readings(history: History, codes: NDArray[np.int64], factors: NDArray[np.float64]) -> Readings:
    if not len(history):
        return Readings(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    series = codes[history.code]
    rows = series >= 0
    return Readings.of(series[rows], history.time[rows], (history.value * factors[history.code])[rows])


def _is_counted(series: StoredSeries, knowledge: Knowledge) -> bool:
    is_difference = (series.id, series.measurement) in knowledge.differences
    return is_energy_counter(series.measurement, series.unit) and not is_difference


def points_of(energies: Energies, period: Period, descriptions: Mapping[int, str]) -> EnergyPoints:
    """Return energies as points of `emm_energy`, with the present descriptions of the meters."""
    series = [energies.series[code] for code in energies.code.tolist()]
    texts = {flags: flags_text(flags) for flags in set(energies.flags.tolist())}
    return EnergyPoints(
        energies.start,
        np.array([each.meter_id for each in series], np.int64),
        TextColumn.of(descriptions.get(each.meter_id) for each in series),
        TextColumn.of(each.measurement for each in series),
        TextColumn.of(each.unit for each in series),
        TextColumn.of(str(period) for _ in series),
        energies.energy,
        energies.coverage,
        energies.cost,
        energies.estimated,
        energies.readings,
        TextColumn.of(texts[flags] for flags in energies.flags.tolist()),
    )


def energies_of(points: EnergyPoints) -> Energies:
    """Return stored points as energies."""
    known: dict[Series, int] = {}
    columns = zip(points.id.tolist(), points.measurement.tolist(), points.dataunit.tolist(), strict=True)
    codes = [known.setdefault(Series(id_, str(name), str(unit)), len(known)) for id_, name, unit in columns]
    return Energies(
        tuple(known),
        np.array(codes, np.int64),
        points.time,
        points.energy,
        points.coverage,
        points.cost,
        points.estimated,
        points.readings,
        np.array([flags_of(text) for text in points.flags.tolist()], np.int64),
    )
