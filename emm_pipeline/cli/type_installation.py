"""Install types of the catalogue, and their variants in other orders, into the database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from emm_pipeline.catalog import load_catalogue
from emm_pipeline.cli.showing.type_lists import rows_of
from emm_pipeline.cli.suggesting import suggestion
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
from emm_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection, Engine

    from emm_pipeline.catalog import CatalogueType


@dataclass(frozen=True, slots=True)
class PlannedType:
    """A type of the catalogue, and what its installation changes."""

    entry: CatalogueType
    plan: Installation


def catalogue_type(name: str) -> CatalogueType:
    """Return a type of the catalogue, or a variant of one.

    Raises:
        ConfigurationError: The catalogue does not have it.
    """
    entry = load_catalogue().get(name)
    if entry is None:
        hint = suggestion(name, load_catalogue())
        raise ConfigurationError(f"the catalogue has no type {name!r}; emm types list shows those it has{hint}")
    return entry


def plan_types(connection: Connection, entries: Iterable[CatalogueType]) -> list[PlannedType]:
    """Return what the installation of types would change in the database."""
    database, installed = load_type_rows(connection), load_installed(connection)
    return [
        PlannedType(
            entry,
            plan_installation(database.get(entry.name, TypeRows()), installed.get(entry.name), rows_of(entry)),
        )
        for entry in entries
    ]


def install_types(engine: Engine, names: Iterable[str]) -> None:
    """Write types of the catalogue into the database, in one transaction."""
    with editing_registers(engine) as connection:
        write_types(connection, plan_types(connection, [catalogue_type(name) for name in names]))


def write_types(connection: Connection, plans: Sequence[PlannedType]) -> None:
    """Write planned changes, within `editing_registers`."""
    for each in plans:
        write_registers(connection, each.plan.remove, each.plan.add)
        write_settings(connection, each.entry.name, each.plan.settings)
        added = each.plan.combined - each.plan.combined_before
        write_combined(connection, each.plan.combined_before - each.plan.combined, sorted(added, key=str))
        save_installed(connection, each.entry.name, rows_of(each.entry))
