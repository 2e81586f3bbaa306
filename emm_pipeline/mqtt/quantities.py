"""Home Assistant's device class, state class and number of decimals for a measurement, by name and unit (pure).

A device class is given only with a unit that Home Assistant has allowed for it since device discovery exists (2024.11):
with another one it rejects the sensor. Source: `DEVICE_CLASS_UNITS` and `DEVICE_CLASS_STATE_CLASSES` in
https://github.com/home-assistant/core/blob/2024.11.0/homeassistant/components/sensor/const.py
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MEASUREMENT, TOTAL, TOTAL_INCREASING = "measurement", "total", "total_increasing"


@dataclass(frozen=True, slots=True)
class Quantity:
    """Home Assistant's classes of a sensor; `precision` is the number of decimals that it shows."""

    device_class: str | None = None
    state_class: str = MEASUREMENT
    precision: int | None = None


_BY_UNIT = {
    "V": ("voltage", 1),
    "mV": ("voltage", 0),
    "A": ("current", 2),
    "mA": ("current", 0),
    "W": ("power", 0),
    "kW": ("power", 3),
    "MW": ("power", 3),
    "VA": ("apparent_power", 0),
    "var": ("reactive_power", 0),
    "Hz": ("frequency", 2),
    "kHz": ("frequency", 3),
    "°C": ("temperature", 1),
    "°F": ("temperature", 1),
    "K": ("temperature", 1),
    "bar": ("pressure", 2),
    "Pa": ("pressure", 0),
    "hPa": ("pressure", 1),
    "kPa": ("pressure", 1),
    "W/m²": ("irradiance", 0),
    "lx": ("illuminance", 0),
    "L/min": ("volume_flow_rate", 1),
    "m³/h": ("volume_flow_rate", 2),
    "s": ("duration", 0),
    "min": ("duration", 0),
    "h": ("duration", 1),
    "d": ("duration", 1),
}
_VOLUMES = {"m³": 2, "L": 0, "ft³": 1, "gal": 0}
"""Units of counters of gas and water."""
_ENERGY = {"Wh": 0, "kWh": 2, "MWh": 3, "GWh": 3, "MJ": 2, "GJ": 3}
_OTHER_COUNTERS = {"varh": 0, "kvarh": 2, "Mvarh": 3, "VAh": 0, "kVAh": 2, "MVAh": 3}
"""Units of counters for which Home Assistant has no device class."""
_COUNTERS = {**_ENERGY, **_OTHER_COUNTERS, **_VOLUMES}
_GAS_UNITS = {"m³", "ft³"}

_STORED = re.compile(r"capacity|remaining|stored|storage|battery_?energy$", re.IGNORECASE)
"""Names of an amount of energy that is no counter, for example in a battery."""
_FALLS = re.compile(r"(\b|_)net(?![a-z])|Net(?![a-z])|[Bb]alance|[Ss]aldo")
"""Names of counters that also fall: import minus export."""
_GAS = re.compile(r"gas", re.IGNORECASE)
_WATER = re.compile(r"water|wasser", re.IGNORECASE)
_POWER_FACTOR = re.compile(r"power_?factor|cos_?phi", re.IGNORECASE)


def quantity_of(name: str, unit: str | None, *, may_fall: bool = False) -> Quantity:
    """Return the classes of a measurement.

    Args:
        name: the measurement's name.
        unit: its unit.
        may_fall: whether its value falls, for example because it is stored with the opposite sign.
    """
    if unit is not None and unit in _COUNTERS:
        return _counter(name, unit, may_fall=may_fall)
    if unit in _BY_UNIT:
        device_class, precision = _BY_UNIT[unit]
        return Quantity(device_class, MEASUREMENT, precision)
    if _POWER_FACTOR.search(name) and unit in {None, "%"}:
        return Quantity("power_factor", MEASUREMENT, 2 if unit is None else 0)
    return Quantity()


def _counter(name: str, unit: str, *, may_fall: bool) -> Quantity:
    device_class = "energy" if unit in _ENERGY else _volume_class(name, unit) if unit in _VOLUMES else None
    if _STORED.search(name) and unit not in _VOLUMES:
        return Quantity("energy_storage" if unit in _ENERGY else None, MEASUREMENT, 2)
    falls = may_fall or _FALLS.search(name)
    return Quantity(device_class, TOTAL if falls else TOTAL_INCREASING, _COUNTERS[unit])


def _volume_class(name: str, unit: str) -> str:
    if _WATER.search(name):
        return "water"
    return "gas" if _GAS.search(name) and unit in _GAS_UNITS else "volume"
