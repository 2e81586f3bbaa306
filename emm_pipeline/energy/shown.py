"""The energy of intervals as records, for `emm energy` and for the API of the web page."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Any

from emm_pipeline.energy.knowledge import knowledge_of
from emm_pipeline.energy.periods import moment_of
from emm_pipeline.fleet import Fleet

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from emm_pipeline.config_db.energy_rows import EnergyRows
    from emm_pipeline.stores.energy_points import EnergyPoints

RECORD_TYPES: dict[str, type] = {
    "time": str,
    "id": int,
    "description": str,
    "measurement": str,
    "energy": float,
    "unit": str,
    "coverage": float,
    "estimated": float,
    "readings": int,
    "flags": str,
    "cost": float,
    "currency": str,
}
"""The keys of a record, and the types of their values."""


def energy_records(points: EnergyPoints, configured: EnergyRows, zone: ZoneInfo) -> list[dict[str, Any]]:
    """Return a record per point, by meter, measurement and time; its time is ISO 8601 in the time zone.

    Args:
        points: The energies of the store.
        configured: The meters' tariffs, for the currencies.
        zone: The time zone of the installation.
    """
    tariffs = knowledge_of(Fleet(), configured.meters, configured.prices, zone).tariffs
    rows = sorted(points.rows(), key=lambda row: (row["id"], row["measurement"], row["dataunit"] or "", row["time"]))
    return [
        {
            "time": moment_of(row["time"], zone).isoformat(),
            "id": row["id"],
            "description": row["description"],
            "measurement": row["measurement"],
            "energy": round(row["energy"], 6),
            "unit": row["dataunit"],
            "coverage": round(row["coverage"], 2),
            "estimated": round(row["estimated"], 6),
            "readings": row["readings"],
            "flags": row["flags"],
            "cost": None if math.isnan(row["cost"]) else float(cents(row["cost"])),
            "currency": tariffs[row["id"]].currency if row["id"] in tariffs else None,
        }
        for row in rows
    ]


def cents(cost: float) -> Decimal:
    """Return a cost in cents. It is rounded twice, because a stored cost differs from its decimal digits by 10⁻⁸."""
    return Decimal(str(round(cost, 6))).quantize(Decimal("0.01"), ROUND_HALF_UP)
