"""The power and the energy that the overview shows for a meter, chosen by name and unit (pure)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

POWER_UNITS = {"W": 1.0, "kW": 1e3, "MW": 1e6}
"""Watts per unit."""
ENERGY_UNITS = {"Wh": 1e-3, "kWh": 1.0, "MWh": 1e3, "GWh": 1e6}
"""Kilowatt hours per unit."""

_PART = re.compile(r"L[123]|[Pp]hase|_[abc]$|Ph[ABC]|String|string|PV\d|MPPT|\d$")
"""Names of one phase or one string."""
_TOTAL = re.compile(r"^(total_?)?(active_?)?power(_?total)?$|^total", re.IGNORECASE)
_OTHER_POWER = re.compile(r"max|min|demand|limit|rated|nominal|setpoint|apparent|reactive", re.IGNORECASE)
_IMPORT = re.compile(r"import|consum|positive|forward|delivered|bezug", re.IGNORECASE)
_OTHER_ENERGY = re.compile(
    r"export|reverse|negative|feed|today|daily|month|year|partial|tariff|reactive", re.IGNORECASE
)


class Chosen(NamedTuple):
    """The places of power and energy among a meter's measurements; None if it has none."""

    power: int | None
    energy: int | None


def choose(names: Sequence[str], units: Sequence[str | None]) -> Chosen:
    """Choose the total power and the main energy counter: totals before parts, import before export."""
    pairs = list(zip(names, units, strict=True))
    power = [
        (bool(_PART.search(name)), bool(_OTHER_POWER.search(name)), not _TOTAL.search(name), place)
        for place, (name, unit) in enumerate(pairs)
        if unit in POWER_UNITS
    ]
    energy = [
        (bool(_OTHER_ENERGY.search(name)), bool(_PART.search(name)), not _IMPORT.search(name), place)
        for place, (name, unit) in enumerate(pairs)
        if unit in ENERGY_UNITS
    ]
    return Chosen(min(power)[-1] if power else None, min(energy)[-1] if energy else None)
