"""The measurement names of the catalogue: one name and unit per quantity, for all devices. Pure.

A dashboard that shows `activePower` therefore shows it for every device. A single-phase device measures L1.

Signs: power at the grid connection is positive while energy is imported, the power of an inverter while it generates,
the power and the current of a battery while it discharges. Energy counters only increase.
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
    **_with_phases("gridVoltage", "V", "line to neutral at the grid connection, from an inverter's meter"),
    **_with_phases("gridCurrent", "A", "current at the grid connection, from an inverter's meter"),
    "gridFrequency": Quantity("Hz", "frequency at the grid connection, from an inverter's meter"),
    "gridImportPower": Quantity("W", "active power imported from the grid, from an inverter's meter"),
    "gridExportPower": Quantity("W", "active power exported to the grid, from an inverter's meter"),
    **_with_phases("importActivePower", "W", "active power while it is imported, otherwise 0"),
    **_with_phases("exportActivePower", "W", "active power while it is exported, otherwise 0"),
    **_with_phases("importActiveEnergy", "kWh", "active energy imported from the grid"),
    **_with_phases("exportActiveEnergy", "kWh", "active energy exported to the grid"),
    "importActiveEnergyToday": Quantity("kWh", "active energy imported from the grid since midnight"),
    "exportActiveEnergyToday": Quantity("kWh", "active energy exported to the grid since midnight"),
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
    **_with_phases("loadPower", "W", "active power of the loads, as the inverter measures or computes it"),
    "loadEnergy": Quantity("kWh", "energy of the loads over the inverter's lifetime"),
    "loadEnergyToday": Quantity("kWh", "energy of the loads since midnight"),
    **_with_phases("backupPower", "W", "active power at the backup output of an inverter"),
    **_phases("backupVoltage", "V", "line to neutral at the backup output of an inverter"),
    **_phases("backupCurrent", "A", "current at the backup output of an inverter"),
    "backupFrequency": Quantity("Hz", "frequency at the backup output of an inverter"),
    "batteryPower": Quantity("W", "power of the battery; discharge positive"),
    "batteryChargePower": Quantity("W", "power of the battery while it charges, otherwise 0"),
    "batteryDischargePower": Quantity("W", "power of the battery while it discharges, otherwise 0"),
    "batteryVoltage": Quantity("V", "voltage of the battery"),
    "batteryCurrent": Quantity("A", "current of the battery; discharge positive"),
    "batterySoc": Quantity("%", "state of charge of the battery"),
    "batterySoh": Quantity("%", "state of health of the battery"),
    "batteryTemperature": Quantity("°C", "temperature of the battery"),
    "batteryCapacity": Quantity("kWh", "rated capacity of the battery"),
    "batteryStoredEnergy": Quantity("kWh", "energy that the battery holds"),
    "batteryChargedEnergy": Quantity("kWh", "energy with which the battery was charged over its lifetime"),
    "batteryDischargedEnergy": Quantity("kWh", "energy that the battery has discharged over its lifetime"),
    "batteryChargedEnergyToday": Quantity("kWh", "energy with which the battery was charged since midnight"),
    "batteryDischargedEnergyToday": Quantity("kWh", "energy that the battery has discharged since midnight"),
    "batteryState": Quantity(None, "state of the battery, as a code of the device"),
    "dcPower": Quantity("W", "total DC power of an inverter"),
    "dcVoltage": Quantity("V", "DC voltage of an inverter"),
    "dcCurrent": Quantity("A", "DC current of an inverter"),
    "dcEnergy": Quantity("kWh", "DC energy that an inverter has received over its lifetime"),
    "dcEnergyToday": Quantity("kWh", "DC energy that an inverter has received since midnight"),
    **_numbered("dcPower", "W", "power of DC input", 12),
    **_numbered("dcEnergy", "kWh", "lifetime energy of DC input", 12),
    **_numbered("dcVoltage", "V", "voltage of DC input", 12),
    **_numbered("dcCurrent", "A", "current of DC input", 12),
    "temperature": Quantity("°C", "temperature inside the device"),
    "heatsinkTemperature": Quantity("°C", "temperature of the heat sink"),
    "sessionEnergy": Quantity("kWh", "energy that a charger has delivered in the present or last session"),
    "sessionDuration": Quantity("s", "duration of the present or last session of a charger"),
    "operatingState": Quantity(None, "operating state, as a code of the device"),
    "manufacturer": Quantity(None, "label: the device's manufacturer"),
    "model": Quantity(None, "label: the device's model"),
    "serialNumber": Quantity(None, "label: the device's serial number"),
    "firmware": Quantity(None, "label: the version of the device's firmware"),
}
"""Quantities by measurement name, in the order of docs/catalogue.md."""
