"""`emm db …`: the configuration database's tables."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from emm_pipeline.cli.output import json_option, print_json
from emm_pipeline.config_db.upgrade import check, ensure_database, upgrade
from emm_pipeline.opening import open_config_database
from emm_pipeline.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from emm_pipeline.settings import Settings


@click.group("db")
def database() -> None:
    """The configuration database and its tables."""


@database.command("upgrade")
@json_option
@click.pass_obj
def upgrade_command(env_files: tuple[Path, ...], as_json: bool) -> None:
    """Bring the tables up to date, losing nothing, and create Dagster's own database if it is absent.

    Example: emm db upgrade
    """
    notes: list[str] = []
    upgrade_databases(load_settings(*env_files), notes.append if as_json else print)
    if as_json:
        print_json({"notes": notes})


def upgrade_databases(settings: Settings, note: Callable[[str], None]) -> None:
    """Create and upgrade both databases; `note` gets each line that a person wants to know."""
    # Imported here: `emm poll` has no use for Dagster, which takes a second to import.
    from emm_pipeline.dagster_ext.storage import upgrade_storage  # noqa: PLC0415

    for url in (settings.config_database_url, settings.dagster_database_url):
        if ensure_database(url):
            note(f"created database {url.database}")
    with open_config_database(settings) as engine:
        for line in upgrade(engine):
            note(line)
    upgrade_storage(settings.dagster_database_url.render_as_string(hide_password=False))


@database.command("check")
@json_option
@click.pass_obj
def check_command(env_files: tuple[Path, ...], as_json: bool) -> None:
    """Say whether the tables are up to date; exits with 1 if they are not.

    Example: emm db check
    """
    with open_config_database(load_settings(*env_files)) as engine:
        state = check(engine)
    if as_json:
        print_json({"revision": state.current, "wanted": state.wanted, "up_to_date": state.up_to_date})
    else:
        print(f"revision {state.current or 'none'}, wanted {state.wanted}")
    if not state.up_to_date:
        print("run: emm db upgrade", file=sys.stderr)
        raise SystemExit(1)
