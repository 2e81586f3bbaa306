"""`emm db …`: create, upgrade and check the tables of the configuration database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from emm_pipeline.cli.groups import CommandGroup
from emm_pipeline.cli.output import json_option, note, print_json, say
from emm_pipeline.config_db.loader import load_fleet
from emm_pipeline.config_db.upgrade import check, ensure_database, upgrade
from emm_pipeline.opening import open_config_database
from emm_pipeline.settings import load_settings
from emm_pipeline.stores.postgresql.tables import metadata

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from emm_pipeline.settings import Settings


@click.group("db", cls=CommandGroup)
def database() -> None:
    """The configuration database and its tables."""


@database.command("upgrade")
@json_option
@click.pass_obj
def upgrade_command(env_files: tuple[Path, ...], as_json: bool) -> None:
    """Upgrade the tables without losing data, and create Dagster's own database if it does not exist.

    Example: emm db upgrade
    """
    notes: list[str] = []
    upgrade_databases(load_settings(*env_files), notes.append if as_json else say)
    if as_json:
        print_json({"notes": notes})


def upgrade_databases(settings: Settings, on_note: Callable[[str], None]) -> None:
    """Create and upgrade both databases; `on_note` is called with each line to print."""
    # Imported here: importing Dagster takes a second, and `emm poll` does not need it.
    from emm_pipeline.dagster_ext.storage import upgrade_storage  # noqa: PLC0415

    for url in (settings.config_database_url, settings.dagster_database_url):
        if ensure_database(url):
            on_note(f"created database {url.database}")
    with open_config_database(settings) as engine:
        for line in upgrade(engine):
            on_note(line)
    upgrade_storage(settings.dagster_database_url.render_as_string(hide_password=False))


@database.command("check")
@json_option
@click.pass_obj
def check_command(env_files: tuple[Path, ...], as_json: bool) -> None:
    """Check whether the tables are as this version needs them. Exits with 1 if they are not.

    It compares the revision, columns, their types, lengths and nullability, keys, and conditions. It also names rows
    of meters and registers that cannot be used. It changes nothing.

    Example: emm db check
    """
    with open_config_database(load_settings(*env_files)) as engine:
        state = check(engine, metadata.sorted_tables)
        issues = load_fleet(engine, all_types=True).issues if state.current else ()
    if as_json:
        print_json(
            {
                "revision": state.current,
                "wanted": state.wanted,
                "up_to_date": state.up_to_date,
                "differences": state.differences,
                "misconfigured": list(map(str, issues)),
            }
        )
    elif state.up_to_date:
        say(f"Database is up to date ({state.wanted})")
    else:
        say(f"revision {state.current or 'none'}, wanted {state.wanted}")
        for difference in state.differences:
            say(difference)
    if not as_json:
        for issue in issues:
            say(f"misconfigured: {issue}")
    if not state.up_to_date:
        note("run: emm db upgrade")
        raise SystemExit(1)
