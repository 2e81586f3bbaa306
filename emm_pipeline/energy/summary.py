"""Summaries of energies: per interval, and the intervals that do not pass a check (pure)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from emm_pipeline.energy.quality import DESCRIPTIONS, Offender, offenders
from emm_pipeline.energy.units import billed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from emm_pipeline.energy.records import Energies

OFFENDERS_KEPT = 100
"""Number of intervals that are listed per check."""


@dataclass(frozen=True, slots=True)
class IntervalSummary:
    """All meters in one interval: energy imported, number of meters, and the lowest coverage in %."""

    imported_kwh: float
    meters: int
    lowest_coverage: float


@dataclass(slots=True)
class Summary:
    """The result of a run. `intervals` is by beginning, `counts` and `listed` are by check."""

    rows: int = 0
    readings: int = 0
    intervals: dict[int, IntervalSummary] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(DESCRIPTIONS, 0))
    listed: dict[str, list[Offender]] = field(default_factory=lambda: {name: [] for name in DESCRIPTIONS})

    def add(self, energies: Energies, length_ms: int, max_power_kw: Mapping[int, float]) -> None:
        """Add energies of further intervals."""
        self.rows += len(energies)
        self.readings += int(energies.readings.sum())
        imported = _imported(energies)
        ids = np.array([series.meter_id for series in energies.series], np.int64)
        for start in np.unique(energies.start).tolist():
            rows = energies.start == start
            codes = energies.code[rows]
            self.intervals[start] = IntervalSummary(
                float(energies.energy[rows][imported[codes]].sum()),
                len(np.unique(ids[codes])),
                float(energies.coverage[rows].min()),
            )
        for name, found in offenders(energies, length_ms, max_power_kw).items():
            self.counts[name] += len(found)
            self.listed[name] += found[: OFFENDERS_KEPT - len(self.listed[name])]


def _imported(energies: Energies) -> NDArray[np.bool_]:
    """Return which series are the energy that a meter imports."""
    of_meter: dict[int, dict[str, int]] = {}
    for index, series in enumerate(energies.series):
        if series.unit == "kWh":
            of_meter.setdefault(series.meter_id, {})[series.measurement] = index
    result = np.zeros(len(energies.series), bool)
    for names in of_meter.values():
        imported, _ = billed(names)
        if imported is not None:
            result[names[imported]] = True
    return result
