"""`emm types install` and `emm types diff`: write types of the catalogue into the database, or show the changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from emm_pipeline.catalog import load_catalogue
from emm_pipeline.cli.output import confirm, json_option, print_json, say, yes_option
from emm_pipeline.cli.showing.register_tables import (
    combined_changes,
    print_changes,
)
from emm_pipeline.cli.showing.series_changes import series_changes
from emm_pipeline.commissioning.installing import plan_now, plan_types, write_types
from emm_pipeline.config_db.editing.type_tables import load_type_rows
from emm_pipeline.config_db.engine import database_errors
from emm_pipeline.errors import ConfigurationError
from emm_pipeline.opening import open_config_database
from emm_pipeline.settings import load_settings
from emm_pipeline.suggesting import suggestion

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine

    from emm_pipeline.catalog import CatalogueType
    from emm_pipeline.config_db.editing.installing import Installation


@click.command("diff")
@click.argument("type_names", metavar="[TYPE...]", nargs=-1)
@json_option
@click.pass_obj
def diff_command(env_files: tuple[Path, ...], type_names: tuple[str, ...], as_json: bool) -> None:
    """Show what an installation of types would change, and which series would change with it. Writes nothing.

    Without a TYPE, all types of the catalogue that are in the database. The exit code is 1 if something would change.

    Example: emm types diff sungrow_sg
    """
    catalogue = load_catalogue()
    with open_config_database(load_settings(*env_files)) as engine, database_errors(engine), engine.connect() as conn:
        names = type_names or sorted(name for name in load_type_rows(conn) if name in catalogue)
        plans = plan_types(conn, [_entry(name) for name in dict.fromkeys(names)])
    if as_json:
        print_json([_as_json(each.entry, each.plan) for each in plans])
    else:
        for each in plans:
            _show(each.entry, each.plan)
        if not plans:
            say("no type of the catalogue is in the database")
    if any(not each.plan.changes_nothing for each in plans):
        raise SystemExit(1)


@click.command("install")
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
        plans = plan_now(engine, entries)
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
            write_types(engine, plans)
    if as_json:
        print_json([_as_json(each.entry, each.plan) | {"written": not dry_run} for each in plans])
    elif dry_run or all(each.plan.changes_nothing for each in plans):
        say("nothing was written" + (" (--dry-run)" if dry_run else ""))
    else:
        names = ", ".join(entry.name for entry in entries)
        say(f"installed: {names}; next: emm meters add HOST --unit N --type {entries[0].name}")


def install_types(engine: Engine, names: list[str]) -> None:
    """Write types of the catalogue that are not in the database into it, without printing anything."""
    write_types(engine, plan_now(engine, [_entry(name) for name in names]))


def _entry(name: str) -> CatalogueType:
    catalogue = load_catalogue()
    if name not in catalogue:
        raise ConfigurationError(
            f"the catalogue has no type {name!r}; emm types list shows those it has{suggestion(name, catalogue)}"
        )
    return catalogue[name]


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
    for warning in series_changes(plan):
        say(f"  warning: {warning}")
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
        "series_changes": list(series_changes(plan)),
    }
