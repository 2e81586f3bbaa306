"""Rows of `emm_energy` for tests."""

from typing import Any


def energy_row(time: int, meter: int, kwh: float, period: str, **others: Any) -> dict[str, Any]:
    """Return the energy (kWh) of a meter in an interval that begins at a time (ms): read completely, without a cost.

    Args:
        time: Beginning of the interval, in milliseconds.
        meter: The meter's id.
        kwh: The energy.
        period: `hour`, `day` or `month`.
        others: Columns with other values.
    """
    return {
        "time": time,
        "id": meter,
        "description": f"meter {meter}",
        "measurement": "importActiveEnergy",
        "dataunit": "kWh",
        "period": period,
        "energy": kwh,
        "coverage": 100.0,
        "cost": None,
        "estimated": 0.0,
        "readings": 60,
        "flags": "",
        **others,
    }
