"""Add a list of meters to the database, together with the types that it needs: for `scan --add`, and for imports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from emm_pipeline.catalog import load_catalogue
from emm_pipeline.cli.links import shown_gateway
from emm_pipeline.cli.output import say
from emm_pipeline.commissioning.installing import PlannedType, plan_types, write_planned
from emm_pipeline.config_db.editing.meter_lists import MeterImport, plan_meters
from emm_pipeline.config_db.editing.meter_rows import load_for_import, lock_meters, write_meters
from emm_pipeline.config_db.editing.type_tables import editing_registers
from emm_pipeline.config_db.engine import database_errors
from emm_pipeline.config_db.validation.meters import gateway_address
from emm_pipeline.errors import ConfigurationError
from emm_pipeline.suggesting import suggestion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Engine

    from emm_pipeline.config_db.editing.meter_lists import MeterChange

    Lines = Sequence[tuple[int, Mapping[str, str | None]]]


@dataclass(frozen=True, slots=True)
class PlannedList:
    """Changes of a list: meters, and the types that are installed for them."""

    meters: MeterImport
    types: tuple[PlannedType, ...]


def plan_list(engine: Engine, lines: Lines, *, update: bool = False) -> PlannedList:
    """Return what a list of meters changes; `update`: meters that are in the database may change, too."""
    with database_errors(engine), engine.connect() as connection:
        return _plan(connection, lines, update=update)


def _plan(connection: Connection, lines: Lines, *, update: bool) -> PlannedList:
    database = load_for_import(connection)
    plan = plan_meters(
        lines,
        database,
        can_install=load_catalogue().__contains__,
        explain_type=_explanation,
        update=update,
    )
    known = {str(row["type"]).strip() for row in database.registers}
    needed = [load_catalogue()[name] for name in plan.types if name not in known]
    return PlannedList(plan, tuple(plan_types(connection, needed)))


def _explanation(name: str) -> str:
    return f", neither in the database nor in the catalogue (emm types list){suggestion(name, load_catalogue())}"


def write_list(engine: Engine, lines: Lines, planned: PlannedList, *, update: bool = False) -> None:
    """Write what was planned, in one transaction.

    Raises:
        ConfigurationError: The database was changed in the meantime. Nothing was written.
    """
    with editing_registers(engine) as connection:
        lock_meters(connection)
        if _plan(connection, lines, update=update) != planned:
            raise ConfigurationError(
                "nothing was written: meters or types were changed by someone else in the meantime; repeat the command"
            )
        write_planned(connection, planned.types)
        write_meters(connection, planned.meters.changes)


def print_list(planned: PlannedList) -> None:
    """Print what a list changes, a line for each type and meter."""
    for each in planned.types:
        say(f"+ type {each.entry.name}: {each.entry.title}")
    for change in planned.meters.changes:
        say(_described(change))


def _described(change: MeterChange) -> str:
    if change.before is not None:
        return f"± meter {change.before['id']}: {', '.join(change.differences)}"
    row = change.row
    gateway = gateway_address(row["host"], row["port"], row["transport"], row.get("serial_settings"))
    name = f" ({row['description']})" if row.get("description") else ""
    return f"+ meter {row['id']}{name} at {shown_gateway(gateway)} unit {row['slave_address']}, type {row['type']}"
