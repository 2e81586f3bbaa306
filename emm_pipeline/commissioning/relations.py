"""Check whether the values of a unit go together: voltages, currents, powers, their sums and ratios (pure).

Registers of another type may hold numbers of the right size. They seldom obey the laws of a three-phase system.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from emm_pipeline.commissioning.usual_values import PRESENT_V

if TYPE_CHECKING:
    from collections.abc import Mapping

PHASES = ("L1", "L2", "L3")

SMALL_W = 25.0
"""Power that is not compared: the steps of the registers, and losses, are of this size."""


@dataclass(slots=True)
class Relations:
    """Evidence in bits for the values being right, and what contradicts, a short line each."""

    bits: float = 0.0
    contradictions: list[str] = field(default_factory=list)


def relations(values: Mapping[str, float]) -> Relations:
    """Compare the values of one unit, measurement to value, in the vocabulary's units."""
    found = Relations()
    _voltages(values, found)
    _frequency(values, found)
    for phase in PHASES:
        _power(values, found, f"activePower{phase}", values.get(f"voltage{phase}"), values.get(f"current{phase}"))
        _power(values, found, f"apparentPower{phase}", values.get(f"voltage{phase}"), values.get(f"current{phase}"))
    _whole_power(values, found)
    _sum(values, found)
    for phase in ("", *PHASES):
        _apparent(values, found, phase)
    return found


def _voltages(values: Mapping[str, float], found: Relations) -> None:
    phases = [f"voltage{phase}" for phase in PHASES]
    present = {name: values[name] for name in phases if values.get(name, 0) > PRESENT_V}
    if present:
        middle = median(present.values())
        for name, value in present.items():
            if abs(value - middle) > 0.3 * middle:
                found.contradictions.append(f"{name} {value:.4g} V beside {middle:.4g} V")
    between = [value for name in ("voltageL1L2", "voltageL2L3", "voltageL3L1") if (value := values.get(name, 0)) > 70]  # noqa: PLR2004
    if present and between:
        ratio = max(between) / max(present.values())
        if 1.55 <= ratio <= 2.1 or (len(present) == 1 and 0.9 <= ratio <= 1.1):  # noqa: PLR2004 - root 3, or split phase
            found.bits += 2
        elif not 0.9 <= ratio <= 1.1:  # noqa: PLR2004 - a device may give one for the other
            found.contradictions.append(f"{max(between):.4g} V between phases of {max(present.values()):.4g} V")


def _frequency(values: Mapping[str, float], found: Relations) -> None:
    alive = any(values.get(f"voltage{phase}", 0) > PRESENT_V for phase in PHASES)
    if alive and values.get("frequency") == 0:
        found.contradictions.append("frequency 0 although there is a voltage")


def _power(
    values: Mapping[str, float], found: Relations, name: str, voltage: float | None, current: float | None
) -> None:
    """Compare a power with voltage times current, which it cannot exceed."""
    power = values.get(name)
    if power is None or voltage is None or current is None:
        return
    _compare(found, name, power, abs(voltage * current))


def _compare(found: Relations, name: str, power: float, most: float) -> None:
    if abs(power) > 1.3 * most + SMALL_W:
        found.contradictions.append(f"{name} {power:.4g} although voltage times current is {most:.4g}")
    elif abs(power) > max(0.2 * most, SMALL_W):
        found.bits += 3


def _whole_power(values: Mapping[str, float], found: Relations) -> None:
    """Compare the total power with the sum of voltage times current, if all phases that there are have both."""
    voltages = {phase: values.get(f"voltage{phase}") for phase in PHASES}
    currents = {phase: values.get(f"current{phase}") for phase in PHASES}
    total = values.get("activePower")
    phases = [phase for phase in PHASES if voltages[phase] is not None or currents[phase] is not None]
    if total is None or not phases or "L1" not in phases:
        return
    products = [(voltages[phase] or 0) * abs(currents[phase] or 0) for phase in phases]
    complete = all(voltages[phase] is not None and currents[phase] is not None for phase in phases)
    if complete and (len(phases) > 1 or "activePowerL1" not in values):
        _compare(found, "activePower", total, sum(products))


def _sum(values: Mapping[str, float], found: Relations) -> None:
    for name in ("activePower", "reactivePower", "importActiveEnergy"):
        parts = [values.get(f"{name}{phase}") for phase in PHASES]
        total = values.get(name)
        if total is None or any(part is None for part in parts):
            continue
        whole = math.fsum(part for part in parts if part is not None)
        if total == whole == 0:
            continue
        size = math.fsum(abs(part) for part in parts if part is not None)
        if abs(total - whole) <= max(0.03 * abs(total), 1.0):
            found.bits += 4
        elif abs(total - whole) > max(0.4 * max(size, abs(total)), 4 * SMALL_W):
            found.contradictions.append(f"{name} {total:.4g}, but the sum of its phases is {whole:.4g}")
        else:
            found.bits -= 2


def _apparent(values: Mapping[str, float], found: Relations, phase: str) -> None:
    active, apparent = values.get(f"activePower{phase}"), values.get(f"apparentPower{phase}")
    if active is None or apparent is None:
        return
    if abs(active) > 1.05 * abs(apparent) + SMALL_W:
        found.contradictions.append(f"activePower{phase} {active:.4g} exceeds apparentPower{phase} {apparent:.4g}")
        return
    factor = values.get(f"powerFactor{phase}")
    if factor == 0 and abs(active) > 0.2 * abs(apparent) and abs(apparent) > 4 * SMALL_W:
        found.contradictions.append(f"powerFactor{phase} 0 although activePower{phase} is {active:.4g}")
    elif factor and abs(apparent) > SMALL_W and abs(active) > SMALL_W:
        found.bits += 3 if abs(abs(active / apparent) - abs(factor)) <= 0.05 else -1  # noqa: PLR2004
