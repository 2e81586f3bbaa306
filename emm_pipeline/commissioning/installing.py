"""Install types of the catalogue into the database: compute what would change, and write it, all types or none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from emm_pipeline.commissioning.type_lists import rows_of
from emm_pipeline.config_db.editing.installing import Installation, plan_installation
from emm_pipeline.config_db.editing.register_rows import TypeRows
from emm_pipeline.config_db.editing.type_tables import (
    editing_registers,
    load_installed,
    load_type_rows,
    save_installed,
    write_combined,
    write_registers,
    write_settings,
)
from emm_pipeline.config_db.engine import database_errors
from emm_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Engine

    from emm_pipeline.catalog import CatalogueType


@dataclass(frozen=True, slots=True)
class PlannedType:
    """A type of the catalogue, and what its installation would change."""

    entry: CatalogueType
    plan: Installation


def plan_types(connection: Connection, entries: Sequence[CatalogueType]) -> list[PlannedType]:
    """Compare types of the catalogue with the database."""
    database, installed = load_type_rows(connection), load_installed(connection)
    return [
        PlannedType(
            entry,
            plan_installation(database.get(entry.name, TypeRows()), installed.get(entry.name), rows_of(entry)),
        )
        for entry in entries
    ]


def plan_now(engine: Engine, entries: Sequence[CatalogueType]) -> list[PlannedType]:
    """Compare types of the catalogue with the database, in a transaction of its own.

    Raises:
        ConfigDatabaseError: The database cannot be read.
    """
    with database_errors(engine), engine.connect() as connection:
        return plan_types(connection, entries)


def write_types(engine: Engine, plans: Sequence[PlannedType]) -> None:
    """Write the changes that were shown. The tables are locked only now, not while a question waits for its answer.

    Raises:
        ConfigurationError: The types were changed in the meantime. Nothing was written.
        ConfigDatabaseError: The database rejects a row. Nothing was written.
    """
    with editing_registers(engine) as connection:
        if plan_types(connection, [each.entry for each in plans]) != list(plans):
            raise ConfigurationError(
                "nothing was written: these types were changed by someone else in the meantime; repeat the command to "
                "see the changes it would make now"
            )
        write_planned(connection, plans)


def write_planned(connection: Connection, plans: Sequence[PlannedType]) -> None:
    """Write planned changes, within `editing_registers`."""
    for each in plans:
        write_registers(connection, each.plan.remove, each.plan.add)
        write_settings(connection, each.entry.name, each.plan.settings)
        added = each.plan.combined - each.plan.combined_before
        write_combined(connection, each.plan.combined_before - each.plan.combined, sorted(added, key=str))
        save_installed(connection, each.entry.name, rows_of(each.entry))
