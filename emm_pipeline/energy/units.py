"""Which measurements are counters or powers, and in which unit their energy is stored (pure)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from emm_pipeline.plausibility import is_counter

if TYPE_CHECKING:
    from collections.abc import Iterable

_ENERGY = re.compile(r"([kMG]?)(Wh|varh|VAh)")
_POWER = re.compile(r"([kMG]?)W")
_THOUSANDS = {"": 1e-3, "k": 1.0, "M": 1e3, "G": 1e6}

ENERGY_UNITS = "^[kMG]?(Wh|varh|VAh)$"
"""Regular expression of the units of counters, as InfluxQL and PostgreSQL understand it."""

POWERS = ("activePower", "power", "totalActivePower", "gridPower")
"""Names of the power of a whole meter, the preferred one first."""

_IMPORTS = (
    *("importActiveEnergy", "totalImportActiveEnergy", "importEnergy", "consumedEnergy", "gridImportEnergy"),
    *("totalActiveEnergy", "activeEnergy", "energy", *POWERS),
)
_EXPORTS = ("exportActiveEnergy", "totalExportActiveEnergy", "exportEnergy", "feedInEnergy", "gridExportEnergy")
GENERATIONS = ("generatedEnergy", "totalGeneratedEnergy")
"""Names of the energy that an inverter has generated."""


class EnergyUnit(NamedTuple):
    """The unit of a stored energy, and the factor from the unit of a reading to it."""

    unit: str
    factor: float


@lru_cache(maxsize=1000)
def unit_of_counter(unit: str | None) -> EnergyUnit | None:
    """Return the unit in which the energy of a counter is stored: kWh for Wh, kWh and MWh; None if it is no energy."""
    found = _ENERGY.fullmatch(unit or "")
    return EnergyUnit(f"k{found[2]}", _THOUSANDS[found[1]]) if found else None


@lru_cache(maxsize=1000)
def kilowatts(unit: str | None) -> float | None:
    """Return the factor from a unit of power to kW; None if it is not one."""
    found = _POWER.fullmatch(unit or "")
    return _THOUSANDS[found[1]] if found else None


@lru_cache(maxsize=100_000)
def is_energy_counter(measurement: str, unit: str | None) -> bool:
    """Whether the energy of a measurement is computed: it is a counter by its unit, and by its name it only rises."""
    return unit_of_counter(unit) is not None and is_counter(measurement, unit)


def power_of(series: Iterable[tuple[str, str | None]]) -> tuple[str, str] | None:
    """Return name and unit of the power to integrate for a meter without a counter of active energy.

    Args:
        series: Names and units of the meter's measurements.

    Returns:
        None if the meter has such a counter, or no power of the whole meter.
    """
    known = dict(series)
    has_counter = any(
        is_energy_counter(name, unit) and (found := unit_of_counter(unit)) and found.unit == "kWh"
        for name, unit in known.items()
    )
    if has_counter:
        return None
    return next(((name, str(known[name])) for name in POWERS if kilowatts(known.get(name)) is not None), None)


def billed(measurements: Iterable[str]) -> tuple[str | None, str | None]:
    """Return which of a meter's measurements in kWh is the energy to pay for, and which the energy fed in.

    A meter with a single measurement is billed by it, whatever its name is, unless it is an export.
    """
    names = set(measurements)
    exported = next((name for name in _EXPORTS if name in names), None)
    imported = next((name for name in _IMPORTS if name in names), None)
    if imported is None and len(names) == 1 and exported is None and names.isdisjoint(GENERATIONS):
        (imported,) = names
    return imported, exported
