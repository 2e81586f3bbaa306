"""`emm types …`: show the catalogue of known device types, and install types into the database."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from emm_pipeline.catalog import load_catalogue
from emm_pipeline.cli.output import confirm, json_option, print_json, say, yes_option
from emm_pipeline.cli.showing.register_tables import (
    combined_changes,
    combined_line,
    print_changes,
    print_registers,
    registers_as_json,
)
from emm_pipeline.cli.showing.tables import print_table
from emm_pipeline.cli.suggesting import suggestion
from emm_pipeline.config_db.editing.installing import Installation, plan_installation
from emm_pipeline.config_db.editing.meter_rows import load_meter_rows
from emm_pipeline.config_db.editing.register_rows import TypeRows, combined_rows, register_row, settings_row
from emm_pipeline.config_db.editing.type_tables import (
    editing_registers,
    load_installed,
    load_type_rows,
    load_types_of,
    save_installed,
    write_combined,
    write_registers,
    write_settings,
)
from emm_pipeline.config_db.engine import database_errors
from emm_pipeline.config_db.loader import load_fleet
from emm_pipeline.errors import ConfigurationError
from emm_pipeline.fleet import MeterType
from emm_pipeline.modbus.planning import plan_requests
from emm_pipeline.opening import open_config_database
from emm_pipeline.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection, Engine

    from emm_pipeline.catalog import CatalogueType


@click.group("types")
def types() -> None:
    """Meter types: those of the catalogue, and those in the database."""


@types.command("list")
@json_option
@click.pass_obj
def list_command(env_files: tuple[Path, ...], as_json: bool) -> None:
    """Show the types of the catalogue and of the database, and how many meters use each.

    State in the database: `as in the catalogue`, `edited` (it differs), or `own` (not in the catalogue).

    Example: emm types list
    """
    catalogue = load_catalogue()
    with open_config_database(load_settings(*env_files)) as engine:
        database = load_types_of(engine)
        used = Counter(str(row["type"]).strip() for row in load_meter_rows(engine))
    entries = [
        {
            "type": name,
            "title": catalogue[name].title if name in catalogue else None,
            "registers": len(database[name].registers if name in database else catalogue[name].registers),
            "database": _state(database.get(name), catalogue.get(name)),
            "meters": used[name],
        }
        for name in sorted({*catalogue, *database})
    ]
    if as_json:
        print_json(entries)
        return
    headers = ("type", "device", "registers", "in the database", "meters")
    print_table(headers, (tuple(entry.values()) for entry in entries), right=("registers", "meters"))


def _state(database: TypeRows | None, entry: CatalogueType | None) -> str | None:
    if not database or not database.registers:
        return None
    if entry is None:
        return "own"
    return "as in the catalogue" if database == _rows_of(entry) else "edited"


@types.command("show")
@click.argument("type_name", metavar="TYPE")
@json_option
@click.pass_obj
def show_command(env_files: tuple[Path, ...], type_name: str, as_json: bool) -> None:
    """Show a type's registers, their sources, and the requests that read them.

    The registers are those in the database if it has the type, otherwise those in the catalogue.

    Example: emm types show sdm630
    """
    entry = load_catalogue().get(type_name)
    with open_config_database(load_settings(*env_files)) as engine:
        fleet = load_fleet(engine, all_types=True)
    meter_type = fleet.types.get(type_name) or (entry.meter_type if entry else None)
    if meter_type is None:
        raise ConfigurationError(
            f"there is no type {type_name!r}; emm types list shows the existing ones"
            f"{suggestion(type_name, {*fleet.types, *load_catalogue()})}"
        )
    place = "database" if type_name in fleet.types else "catalogue"
    requests = plan_requests(meter_type)
    if as_json:
        head = _head(entry) if entry else {}
        print_json(
            {
                "type": type_name,
                "from": place,
                **head,
                "registers": registers_as_json(meter_type),
                "combined": [asdict(combined) for combined in meter_type.combined],
                "misconfigured": [{"row": row, "reason": why} for row, why in meter_type.unusable],
                "requests": [asdict(request) for request in requests],
            }
        )
        return
    say(f"{type_name}: {entry.title if entry else 'not in the catalogue'}; registers of the {place}")
    if entry:
        say(f"document: {entry.document}")
        for source in entry.sources:
            say(f"source: {source}")
        for remark in entry.notes:
            say(f"note: {remark}")
    print_registers(meter_type)
    for combined in meter_type.combined:
        say(f"combined: {combined_line(combined)}")
    for row, why in meter_type.unusable:
        say(f"misconfigured: {row}: {why}")
    count = "1 request" if len(requests) == 1 else f"{len(requests)} requests"
    say(f"read by {count}: {'; '.join(map(str, requests))}")


def _head(entry: CatalogueType) -> dict[str, Any]:
    names = ("title", "vendor", "document", "sources", "notes")
    return {name: getattr(entry, name) for name in names}


@types.command("install")
@click.argument("type_names", metavar="TYPE...", nargs=-1, required=True)
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option("--force", is_flag=True, help="Also overwrite rows that a person has edited.")
@yes_option
@json_option
@click.pass_obj
def install_command(
    env_files: tuple[Path, ...], type_names: tuple[str, ...], dry_run: bool, force: bool, yes: bool, as_json: bool
) -> None:
    """Write types of the catalogue into the database, after showing the changes.

    Rows that a person has edited are overwritten only with --force. All types are written, or none.

    Example: emm types install sdm630
    """
    entries = [_entry(name) for name in dict.fromkeys(type_names)]
    with open_config_database(load_settings(*env_files)) as engine:
        with database_errors(engine), engine.connect() as connection:
            plans = _plans(connection, entries)
        if not as_json:
            for each in plans:
                _show(each.entry, each.plan)
        edited = [each.entry.name for each in plans if each.plan.overwrites_a_person]
        if edited and not force and not dry_run:
            raise ConfigurationError(
                f"nothing was written: a person has edited rows of {', '.join(edited)}; to overwrite them, add --force"
            )
        if not dry_run and any(not each.plan.changes_nothing for each in plans):
            confirm(f"Write {', '.join(entry.name for entry in entries)} into the database?", yes=yes or not edited)
            _write(engine, plans)
    if as_json:
        print_json([_as_json(each.entry, each.plan) | {"written": not dry_run} for each in plans])
    elif dry_run or all(each.plan.changes_nothing for each in plans):
        say("nothing was written" + (" (--dry-run)" if dry_run else ""))
    else:
        names = ", ".join(entry.name for entry in entries)
        say(f"installed: {names}; next: emm meters add HOST --unit N --type {entries[0].name}")


@dataclass(frozen=True, slots=True)
class _Planned:
    entry: CatalogueType
    plan: Installation


def _entry(name: str) -> CatalogueType:
    catalogue = load_catalogue()
    if name not in catalogue:
        raise ConfigurationError(
            f"the catalogue has no type {name!r}; emm types list shows those it has{suggestion(name, catalogue)}"
        )
    return catalogue[name]


def _rows_of(entry: CatalogueType) -> TypeRows:
    default = MeterType(entry.name)
    registers = frozenset(register_row(entry.name, register) for register in entry.registers)
    return TypeRows(registers, settings_row(entry.meter_type, default), combined_rows(entry.meter_type))


def _plans(connection: Connection, entries: list[CatalogueType]) -> list[_Planned]:
    database, installed = load_type_rows(connection), load_installed(connection)
    return [
        _Planned(
            entry,
            plan_installation(database.get(entry.name, TypeRows()), installed.get(entry.name), _rows_of(entry)),
        )
        for entry in entries
    ]


def _write(engine: Engine, plans: list[_Planned]) -> None:
    """Write the changes that were shown. The tables are locked only now, not while a question waits for its answer."""
    with editing_registers(engine) as connection:
        if _plans(connection, [each.entry for each in plans]) != plans:
            raise ConfigurationError(
                "nothing was written: these types were changed by someone else in the meantime; repeat the command to "
                "see the changes it would make now"
            )
        for each in plans:
            write_registers(connection, each.plan.remove, each.plan.add)
            write_settings(connection, each.entry.name, each.plan.settings)
            added = each.plan.combined - each.plan.combined_before
            write_combined(connection, each.plan.combined_before - each.plan.combined, sorted(added, key=str))
            save_installed(connection, each.entry.name, _rows_of(each.entry))


def _show(entry: CatalogueType, plan: Installation) -> None:
    say(f"{entry.name}: {entry.title}")
    if plan.changes_nothing:
        say("  already in the database")
    else:
        print_changes(plan.add, plan.remove)
    if plan.deleted:
        say(f"  a person has removed {len(plan.deleted)} of its registers; they would come back")
    for line in combined_changes(plan.combined, plan.combined_before):
        say(f"  {line}")
    if plan.settings_edited:
        say("  a person has edited its row of meter_types; it would be overwritten")
    if plan.combined_edited:
        say("  a person has edited its combined measurements; they would be overwritten")


def _as_json(entry: CatalogueType, plan: Installation) -> dict[str, Any]:
    changed = len(plan.changed)
    return {
        "type": entry.name,
        "added": len(plan.add) - changed,
        "changed": changed,
        "removed": len(plan.remove) - changed,
        "edited_by_a_person": plan.overwrites_a_person,
    }
