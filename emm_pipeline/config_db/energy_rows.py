"""Read what the computation of energies needs besides the fleet: limits and tariffs of meters, and prices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from emm_pipeline.config_db.engine import database_errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Engine


@dataclass(frozen=True, slots=True)
class EnergyRows:
    """Rows as the database has them.

    `meters` have id, description, max_power_w and tariff, those of disabled meters too. `prices` are rows of `tariffs`.
    """

    meters: Sequence[Mapping[str, Any]]
    prices: Sequence[Mapping[str, Any]]


def load_energy_rows(engine: Engine) -> EnergyRows:
    """Return the rows.

    Raises:
        ConfigDatabaseError: The database cannot be read, or was not upgraded.
    """
    with database_errors(engine), engine.connect() as connection:
        meters = connection.execute(
            text("SELECT id, description, max_power_w, tariff FROM energy_meters WHERE id IS NOT NULL ORDER BY id")
        )
        prices = connection.execute(text("SELECT * FROM tariffs ORDER BY name, valid_from, from_time"))
        rows = [
            [{str(name): value for name, value in row.items()} for row in each.mappings()] for each in (meters, prices)
        ]
        return EnergyRows(*rows)
