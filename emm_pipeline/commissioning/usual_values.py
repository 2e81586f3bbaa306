"""How usual a value is for its quantity, as evidence for or against a type (pure).

The quantities are those of the catalogue's vocabulary. The ranges are those of devices in buildings, which are narrower
than what `emm_pipeline.plausibility` allows: a scan compares many types, and each must explain what the unit sends.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from emm_pipeline.fleet import FLOATS

if TYPE_CHECKING:
    from emm_pipeline.fleet import Register

SMALLEST = 1e-6
"""Smallest float that a device reports, other than zero: a float in the wrong order is often smaller."""

UNUSUAL_BITS = 1.0
"""Evidence against a type for a value that is possible, but not usual."""

PRESENT_V = 40.0
"""Voltage below which a phase is not connected: an open input shows a few volts."""


class Usual(NamedTuple):
    """The usual values of a quantity.

    A value inside one of `typical` is evidence for the type, in bits: so unlikely is it that other content of the
    registers gives such a value, as an integer or as a float. One outside of `possible` is evidence against it.
    """

    typical: tuple[tuple[float, float], ...]
    possible: tuple[float, float]
    bits: float
    bits_of_float: float


_LINE_TO_NEUTRAL = Usual(((85, 300),), (0, 420), 3, 6)
_FREQUENCY = Usual(((49, 51), (59, 61)), (40, 70), 6, 8)
_POWER = Usual(((-1e6, 1e6),), (-2e7, 2e7), 0.2, 0.5)
_ENERGY = Usual(((0, 1e7),), (0, 1e8), 0.3, 1)

_QUANTITIES: tuple[tuple[str, str, Usual], ...] = (
    (r"(grid|backup)?voltage(l[123]|ln)?", "V", _LINE_TO_NEUTRAL),
    (r"voltagel(\dl\d|l)", "V", Usual(((150, 520),), (0, 750), 2, 5)),
    (r"(grid|backup)?frequency\w*", "Hz", _FREQUENCY),
    (r"(dc|battery)voltage\d*", "V", Usual(((20, 1000),), (0, 1600), 1, 2)),
    (r"powerfactor\w*", "", Usual(((-1.01, 1.01),), (-1.01, 1.01), 0.7, 2)),
    (r"\w*so[ch]", "%", Usual(((0.5, 100),), (0, 101), 1.3, 2)),
    (r"\w*thd\w*", "%", Usual(((0, 60),), (0, 200), 0.5, 1)),
    (r"\w*temperature", "°C", Usual(((5, 90),), (-50, 150), 1, 2)),
    (r".*", "°", Usual(((-360, 360),), (-360, 360), 0.5, 1)),
    (r".*", "A", Usual(((-1000, 1000),), (-6500, 6500), 0.3, 0.5)),
    (r".*", "W|VA|var", _POWER),
    (r".*", "kWh|kvarh|kVAh", _ENERGY),
    (r".*", "s", Usual((), (0, 1e8), 0, 0)),
)

_ANYTHING = Usual((), (-1e12, 1e12), 0, 0)


@lru_cache(maxsize=10_000)
def usual_of(measurement: str, unit: str | None) -> Usual:
    """Return the usual values of a quantity."""
    for names, units, usual in _QUANTITIES:
        if re.fullmatch(units, unit or "") and re.fullmatch(names, measurement.lower()):
            return usual
    return _ANYTHING


def is_key(measurement: str, unit: str | None) -> bool:
    """Whether a quantity has nearly the same value everywhere: the voltage or the frequency of the grid."""
    return usual_of(measurement, unit) in {_LINE_TO_NEUTRAL, _FREQUENCY}


def evidence(register: Register, value: float) -> float | None:
    """Return the evidence, in bits, that a value other than zero gives for its register; None if it is odd."""
    usual = usual_of(register.measurement_name, register.data_unit)
    lowest, highest = usual.possible
    is_float = register.data_type in FLOATS
    if not lowest <= value <= highest or (is_float and abs(value) < SMALLEST):
        return None
    if any(low <= value <= high for low, high in usual.typical):
        return usual.bits_of_float if is_float else usual.bits
    return -UNUSUAL_BITS if usual.typical else 0.0
