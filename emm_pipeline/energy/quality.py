"""Check the energy of intervals: what a person should look at before the numbers are used (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from emm_pipeline.energy.records import HOUR_MS, Flag, flags_text
from emm_pipeline.energy.units import GENERATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from emm_pipeline.energy.records import Energies, Series

LEAST_COVERAGE = 90.0
"""Percentage below which an interval has too few readings."""
_TOLERANCE = 0.02
"""Part by which a total may differ from the sum of its phases: the accuracy class of most meters is 1 or 2."""
_LEAST_KWH = 0.1
"""Difference that is not reported: the registers' steps."""
_PHASES = ("L1", "L2", "L3")
_EXPORTS = ("exportActiveEnergy",)
_STORED = ("batteryDischargedEnergy",)

COVERAGE = "coverage"
COUNTERS_RISE = "counters_rise"
PHASES_MATCH_TOTAL = "phases_match_total"
EXPORT_WITHIN_GENERATION = "export_within_generation"
POWER_WITHIN_LIMIT = "power_within_limit"

DESCRIPTIONS = {
    COVERAGE: f"Each meter was read in at least {LEAST_COVERAGE:g} % of the time.",
    COUNTERS_RISE: "No counter fell, jumped, or had a value that cannot be right.",
    PHASES_MATCH_TOTAL: f"The energy of the three phases is the total, within {_TOLERANCE:.0%}.",
    EXPORT_WITHIN_GENERATION: "A device feeds in no more than it generates and takes from its battery.",
    POWER_WITHIN_LIMIT: "The mean power of a meter is within its max_power_w.",
}
"""The checks, by name."""


@dataclass(frozen=True, slots=True)
class Offender:
    """An interval that does not pass a check."""

    meter_id: int
    measurement: str
    start: int
    reason: str


def offenders(energies: Energies, length_ms: int, max_power_kw: Mapping[int, float]) -> dict[str, list[Offender]]:
    """Return the intervals that do not pass, by check.

    Args:
        energies: Of intervals of one period.
        length_ms: Their length.
        max_power_kw: By meter id.
    """
    found: dict[str, list[Offender]] = {name: [] for name in DESCRIPTIONS}
    events = int(Flag.RESET | Flag.REPLACED | Flag.GLITCH)
    by_meter: dict[tuple[int, int], dict[str, float]] = {}
    rows = zip(
        energies.code.tolist(),
        energies.start.tolist(),
        energies.energy.tolist(),
        energies.coverage.tolist(),
        energies.flags.tolist(),
        strict=True,
    )
    for code, start, energy, coverage, flags in rows:
        series = energies.series[code]
        if coverage < LEAST_COVERAGE:
            found[COVERAGE].append(_offender(series, start, f"read in {coverage:.0f} % of the time"))
        if flags & events:
            found[COUNTERS_RISE].append(_offender(series, start, flags_text(flags & events).replace(",", ", ")))
        limit = max_power_kw.get(series.meter_id)
        mean = abs(energy) * HOUR_MS / length_ms
        if limit and series.unit == "kWh" and mean > limit:
            reason = f"{mean:.4g} kW on average; max_power_w is {limit * 1000:.6g}"
            found[POWER_WITHIN_LIMIT].append(_offender(series, start, reason))
        by_meter.setdefault((series.meter_id, start), {})[series.measurement] = energy
    for (meter_id, start), energy_of in by_meter.items():
        for name, reason in _phases(energy_of):
            found[PHASES_MATCH_TOTAL].append(Offender(meter_id, name, start, reason))
        for name, reason in _exports(energy_of):
            found[EXPORT_WITHIN_GENERATION].append(Offender(meter_id, name, start, reason))
    return found


def _offender(series: Series, start: int, reason: str) -> Offender:
    return Offender(series.meter_id, series.measurement, start, reason)


def _phases(energy_of: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    for name, total in energy_of.items():
        phases = [energy_of[name + phase] for phase in _PHASES if name + phase in energy_of]
        if len(phases) == len(_PHASES) and not _equal(sum(phases), total):
            yield name, f"the phases have {sum(phases):.6g} kWh, the total {total:.6g} kWh"


def _exports(energy_of: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    generated = [energy_of[name] for name in GENERATIONS if name in energy_of]
    if not generated:
        return
    available = generated[0] + sum(energy_of.get(name, 0.0) for name in _STORED)
    for name in _EXPORTS:
        exported = energy_of.get(name, 0.0)
        if exported > available and not _equal(exported, available):
            yield name, f"feeds in {exported:.6g} kWh of {available:.6g} kWh"


def _equal(one: float, other: float) -> bool:
    return abs(one - other) <= _LEAST_KWH + _TOLERANCE * max(abs(one), abs(other))
