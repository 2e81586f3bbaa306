"""Recognize a device that answers to several unit ids: its energy counters have the same values at each of them.

Many inverters and meters with Modbus TCP ignore the unit id. Without this, a scan would identify the same device up to
247 times, which takes an hour, and offer it as so many meters.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from emm_pipeline.modbus.decoding import decode_value
from emm_pipeline.readings import Request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from emm_pipeline.commissioning.identification import ReadUnit
    from emm_pipeline.commissioning.scan_state import FoundUnit
    from emm_pipeline.fleet import Register

LEAST_ENERGY = 10.0
"""Lowest value of a counter that is compared: new meters have the same low values."""

MOST_COUNTERS = 3
_RELATIVE, _ABSOLUTE = 1e-4, 0.05
"""How much a counter may increase between two units of a scan, and still be the same one."""


async def find_twin(read: ReadUnit, found: Sequence[FoundUnit]) -> int | None:
    """Return the unit id at which the same device was found before; None if this is another device.

    Args:
        read: Sends a request to the unit.
        found: The units that were found before.
    """
    values: dict[Register, float | None] = {}
    for each in found:
        counters = counters_of(each)
        for register, value in counters.items():
            if register not in values:
                reply = await read(Request.of(register))
                values[register] = decode_value(reply.words, register) if reply.words else None
            present = values[register]
            if present is None or not math.isclose(present, value, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE):
                break
        else:
            if counters:
                return each.unit_id
    return None


def counters_of(found: FoundUnit) -> dict[Register, float]:
    """Return the highest energy counters of an identified unit with their values."""
    if not found.candidates:
        return {}
    likeliest = found.candidates[0]
    counters = {
        register: value
        for register in likeliest.entry.meter_type.measured
        if "energy" in register.measurement_name.lower() and register.model is None and not register.companions
        if (value := likeliest.values.get(register.measurement_name, 0.0)) >= LEAST_ENERGY
    }
    highest = sorted(counters, key=lambda register: -counters[register])[:MOST_COUNTERS]
    return {register: counters[register] for register in highest}
