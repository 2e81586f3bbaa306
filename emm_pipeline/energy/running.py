"""Compute the energy of intervals from the readings store, and write it there.

The energy of an interval depends on the reading after it. If there is none yet, the meter is open: `energy_open` has
it, and the run that finds its next reading notes the intervals in between for recomputation.
"""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from emm_pipeline.config_db.device_state.energy_state import (
    AROUND,
    COMPLETED,
    load_open,
    note_recomputation,
    save_open,
)
from emm_pipeline.config_db.energy_rows import load_energy_rows
from emm_pipeline.config_db.loader import load_fleet
from emm_pipeline.energy.amounts import PER_CURRENCY_UNIT, rounded
from emm_pipeline.energy.computing import Computed, Known, compute, counters_of
from emm_pipeline.energy.costs import IMPORT, billed_series
from emm_pipeline.energy.curves import suspicious
from emm_pipeline.energy.knowledge import Knowledge, knowledge_of
from emm_pipeline.energy.periods import Period, moment_of
from emm_pipeline.energy.records import HOUR_MS, Energies
from emm_pipeline.energy.rollup import roll_up
from emm_pipeline.energy.sources import energies_of, points_of, read_measured
from emm_pipeline.energy.summary import Summary
from emm_pipeline.energy.units import ENERGY_UNITS
from emm_pipeline.energy.windows import AROUND_MS, Reach, reach_before, reach_of_all
from emm_pipeline.stores.history import Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from zoneinfo import ZoneInfo

    from sqlalchemy import Engine

    from emm_pipeline.energy.computing import Measured
    from emm_pipeline.energy.records import Series
    from emm_pipeline.stores.history import HistoryStore

READINGS_AT_ONCE = 1_000_000
"""Number of readings in memory, about: 40 bytes each, several times."""
_JUDGED_BEFORE = timedelta(milliseconds=2 * AROUND_MS)
"""Time before a gap in which counters may be judged otherwise, once there are readings after the gap."""
LEAST_USUAL_MS = 300_000
"""A meter that is read every minute or more often is covered while no two readings are further apart than this."""


def usual_ms(interval: timedelta) -> int:
    """Return the longest usual time between two readings: 2.5 intervals of the poll, 5 minutes at least."""
    return max(LEAST_USUAL_MS, round(interval.total_seconds() * 2500))


class Again(Enum):
    """Why hours are computed again."""

    LATE = "readings came late"
    NOTED = "a run has noted them"


class EnergyRun:
    """Computes intervals, with the configuration as it is when the run begins.

    Args:
        store: The readings store.
        engine: The configuration database.
        zone: TZ.
        usual: Longest usual time between two readings, in milliseconds.

    Raises:
        ConfigDatabaseError: The configuration cannot be read.
    """

    def __init__(self, store: HistoryStore, engine: Engine, zone: ZoneInfo, usual: int) -> None:
        self._store = store
        self._engine = engine
        self._zone = zone
        self._usual = usual
        rows = load_energy_rows(engine)
        self.knowledge: Knowledge = knowledge_of(load_fleet(engine), rows.meters, rows.prices, zone)

    def hours(
        self,
        edges: Sequence[int],
        *,
        again: Again | None = None,
        on_part: Callable[[int, int], None] = lambda *_: None,
    ) -> Summary:
        """Compute the hours between the edges (milliseconds), and write them.

        Args:
            edges: The edges, ascending.
            again: Why they are computed again, if a note asked for it. Late readings may change the hours around them,
                which are noted in turn.
            on_part: Called with the number of hours that are done, and that of all.

        Raises:
            StoreError: The store does not answer. What was written before is right.
            ConfigDatabaseError: The state cannot be read or written.
        """
        known = Known(self.knowledge.counters, self.knowledge.tariffs, self._usual)
        summary = Summary()
        before = load_open(self._engine)
        whole = edges[0], edges[-1]
        changed = Reach(*whole)
        last: Computed | None = None
        done = 0
        hours = 1
        while done < len(edges) - 1:
            part = edges[done : done + hours + 1]
            measured = read_measured(self._store, self.knowledge, part[0], part[-1], round(time.time() * 1000))
            computed = compute(measured, known, part)
            self._write(computed.energies, Period.HOUR)
            summary.add(computed.energies, HOUR_MS, self.knowledge.max_power_kw)
            last = computed
            if again is Again.LATE:
                self._extend(changed, measured, part, whole)
            elif again is None and not done:
                self._extend_before(changed, measured, known)
            done += len(part) - 1
            on_part(done, len(edges) - 1)
            per_hour = len(measured) / (len(part) - 1 + 3 * AROUND_MS / HOUR_MS)
            hours = int(np.clip(READINGS_AT_ONCE / max(per_hour, 1) - 3 * AROUND_MS / HOUR_MS, 1, 24 * 31))
        if last is not None:
            self._settle(edges, before, last)
            self._note_around(whole, changed)
        return summary

    def roll_up(self, period: Period, edges: Sequence[int], part_edges: Sequence[int]) -> Summary:
        """Compute days from hours, or months from days, and write them.

        Args:
            period: DAY or MONTH.
            edges: Their edges, in milliseconds.
            part_edges: The edges of the shorter intervals.
        """
        parts_of = Period.HOUR if period is Period.DAY else Period.DAY
        summary = Summary()
        for begin, end in pairwise(edges):
            parts = energies_of(self._store.read_energy(parts_of, begin, end))
            inside = [edge for edge in part_edges if begin <= edge <= end]
            energies = roll_up(parts, [begin, end], inside)
            if period is Period.MONTH:
                energies = self._with_base_prices(energies)
            self._write(energies, period)
            summary.add(energies, end - begin, self.knowledge.max_power_kw)
        return summary

    def _write(self, energies: Energies, period: Period) -> None:
        if len(energies):
            self._store.write_energy(points_of(energies, period, self.knowledge.descriptions))

    def _with_base_prices(self, months: Energies) -> Energies:
        """Add the base price of the month to the cost of the energy that a meter imports."""
        tariffs = self.knowledge.tariffs
        imported = {index for index, way in billed_series(months.series, tariffs).items() if way == IMPORT}
        added = [
            tariffs[months.series[code].meter_id].base_price(self._date(start)) if code in imported else 0.0
            for code, start in zip(months.code.tolist(), months.start.tolist(), strict=True)
        ]
        cost = rounded(months.cost + np.array(added), PER_CURRENCY_UNIT)
        return Energies(
            months.series,
            months.code,
            months.start,
            months.energy,
            months.coverage,
            cost,
            months.estimated,
            months.readings,
            months.flags,
        )

    def _date(self, time_ms: int) -> date:
        return moment_of(time_ms, self._zone).date()

    def _settle(self, edges: Sequence[int], before: dict[tuple[int, str], datetime], last: Computed) -> None:
        """Note which series are open after the intervals, and which gaps before them a reading has completed."""
        begin, end = _utc(edges[0]), _utc(edges[-1])
        ends = {(each.meter_id, each.measurement): _utc(since) for each, since in last.last.items()}
        opened = {key: since for key, since in ends.items() if since < end}
        completed = {key: since for key, since in before.items() if since < end and key in ends and ends[key] > since}
        changes = {
            key: since for key, since in opened.items() if key not in before or key in completed or since < before[key]
        }
        gaps = [since - _JUDGED_BEFORE for since in completed.values() if since < begin]
        if gaps:
            note_recomputation(self._engine, min(gaps), begin, COMPLETED)
        if changes or completed:
            save_open(self._engine, changes, completed.keys() - changes.keys())

    def _extend(self, changed: Reach, measured: Measured, part: Sequence[int], whole: tuple[int, int]) -> None:
        """Extend a time by that which late readings of a part can change before and after the whole."""
        for series, readings in (
            (measured.counter_series, measured.counters),
            (measured.power_series, measured.powers),
        ):
            self._join(changed, reach_of_all(readings, part[0], part[-1], whole), series)

    def _extend_before(self, changed: Reach, measured: Measured, known: Known) -> None:
        """Extend a time by the hours before it that may be judged otherwise, now that there are more readings."""
        readings = measured.counters
        rows = suspicious(readings, counters_of(measured, known))
        self._join(changed, reach_before(rows, readings, changed.since), measured.counter_series)

    def _join(self, changed: Reach, found: Reach, series: Sequence[Series]) -> None:
        changed.since, changed.until = min(changed.since, found.since), max(changed.until, found.until)
        if found.beyond:
            ids = tuple(sorted({series[code].meter_id for code in found.beyond}))
            selection = Selection(ENERGY_UNITS, ids=ids)
            before = self._store.read_before(selection, min(found.beyond.values()) + 1, 1)
            changed.since = min([changed.since, *before.time.tolist()])

    def _note_around(self, whole: tuple[int, int], changed: Reach) -> None:
        """Note the intervals before and after the computed ones that may have changed as well."""
        for begin, end in ((changed.since, whole[0]), (whole[1], changed.until)):
            if begin < end:
                note_recomputation(self._engine, _utc(begin), _utc(end), AROUND)


def _utc(time_ms: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=time_ms)
