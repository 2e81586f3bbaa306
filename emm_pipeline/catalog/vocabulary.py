"""The measurement names of the catalogue: one name and unit per quantity, for all devices. Pure.

A dashboard that shows `activePower` therefore shows it for every device. A single-phase device measures L1.
"""

from __future__ import annotations

from typing import NamedTuple


class Quantity(NamedTuple):
    """The unit and the meaning of a measurement. A quantity without a unit is a ratio or a code."""

    unit: str | None
    meaning: str


def _phases(name: str, unit: str | None, meaning: str) -> dict[str, Quantity]:
    return {f"{name}L{phase}": Quantity(unit, f"{meaning}, phase {phase}") for phase in (1, 2, 3)}


def _with_phases(name: str, unit: str | None, meaning: str) -> dict[str, Quantity]:
    return {name: Quantity(unit, meaning)} | _phases(name, unit, meaning)


def _numbered(name: str, unit: str, meaning: str, count: int) -> dict[str, Quantity]:
    return {f"{name}{number}": Quantity(unit, f"{meaning} {number}") for number in range(1, count + 1)}


VOCABULARY: dict[str, Quantity] = {
    **_phases("voltage", "V", "line to neutral"),
    "voltageLN": Quantity("V", "line to neutral, mean of the phases"),
    "voltageL1L2": Quantity("V", "phase 1 to 2"),
    "voltageL2L3": Quantity("V", "phase 2 to 3"),
    "voltageL3L1": Quantity("V", "phase 3 to 1"),
    "voltageLL": Quantity("V", "phase to phase, mean"),
    **_phases("current", "A", "current"),
    "currentN": Quantity("A", "neutral current"),
    "currentMean": Quantity("A", "mean of the phases' currents"),
    "current": Quantity("A", "sum of the phases' currents"),
    **_with_phases("activePower", "W", "active power; import positive at a meter, generation at an inverter"),
    **_with_phases("apparentPower", "VA", "apparent power"),
    **_with_phases("reactivePower", "var", "reactive power"),
    **_with_phases("powerFactor", None, "power factor, -1 to 1"),
    **_with_phases("phaseAngle", "°", "angle between current and voltage"),
    "frequency": Quantity("Hz", "grid frequency"),
    "frequencyHighResolution": Quantity("Hz", "grid frequency, from a second register with smaller steps"),
    **_with_phases("gridPower", "W", "active power at the grid connection, from an inverter's meter; import positive"),
    "gridImportPower": Quantity("W", "active power imported from the grid, from an inverter's meter"),
    "gridExportPower": Quantity("W", "active power exported to the grid, from an inverter's meter"),
    **_with_phases("importActiveEnergy", "kWh", "active energy imported from the grid"),
    **_with_phases("exportActiveEnergy", "kWh", "active energy exported to the grid"),
    **_with_phases("totalActiveEnergy", "kWh", "active energy, sum of import and export"),
    **_with_phases("importReactiveEnergy", "kvarh", "reactive energy, import"),
    **_with_phases("exportReactiveEnergy", "kvarh", "reactive energy, export"),
    **_with_phases("totalReactiveEnergy", "kvarh", "reactive energy, sum of import and export"),
    "apparentEnergy": Quantity("kVAh", "apparent energy"),
    **_phases("voltageThd", "%", "total harmonic distortion of the voltage"),
    "voltageThd": Quantity("%", "total harmonic distortion of the voltage, mean of the phases"),
    **_phases("currentThd", "%", "total harmonic distortion of the current"),
    "currentThd": Quantity("%", "total harmonic distortion of the current, mean of the phases"),
    "generatedEnergy": Quantity("kWh", "energy that an inverter has generated over its lifetime"),
    "generatedEnergyHighResolution": Quantity("kWh", "the same, from a second register with smaller steps"),
    "generatedEnergyToday": Quantity("kWh", "energy that an inverter has generated since midnight"),
    "dcPower": Quantity("W", "total DC power of an inverter"),
    "dcVoltage": Quantity("V", "DC voltage of an inverter"),
    "dcCurrent": Quantity("A", "DC current of an inverter"),
    "dcEnergy": Quantity("kWh", "DC energy that an inverter has received over its lifetime"),
    **_numbered("dcPower", "W", "power of DC input", 3),
    **_numbered("dcVoltage", "V", "voltage of DC input", 12),
    **_numbered("dcCurrent", "A", "current of DC input", 12),
    "temperature": Quantity("°C", "temperature inside the device"),
    "operatingState": Quantity(None, "operating state, as a code of the device"),
    "manufacturer": Quantity(None, "label: the device's manufacturer"),
    "model": Quantity(None, "label: the device's model"),
    "serialNumber": Quantity(None, "label: the device's serial number"),
    "firmware": Quantity(None, "label: the version of the device's firmware"),
}
"""Quantities by measurement name, in the order of docs/catalogue.md."""
