"""`emm combined …`: the table `combined_measurements` from and to CSV files."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import click

from emm_pipeline.cli.exporting import load_named_types, write_export
from emm_pipeline.cli.groups import CommandGroup
from emm_pipeline.cli.output import json_option, print_json, say
from emm_pipeline.cli.showing.register_tables import combined_changes
from emm_pipeline.config_db.csv_tables import told
from emm_pipeline.config_db.editing.combined_files import (
    plan_combined_import,
    read_combined_file,
    write_combined_file,
)
from emm_pipeline.config_db.editing.register_rows import COMBINED_COLUMNS
from emm_pipeline.config_db.editing.type_tables import (
    editing_registers,
    load_type_rows,
    write_combined,
)
from emm_pipeline.config_db.loader import rows_of
from emm_pipeline.errors import ConfigurationError
from emm_pipeline.opening import open_config_database
from emm_pipeline.settings import load_settings


@click.group("combined", cls=CommandGroup)
def combined() -> None:
    """Combined measurements (sums of a type's measurements), from and to CSV files."""


@combined.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@json_option
@click.pass_obj
def import_command(env_files: tuple[Path, ...], file: BinaryIO, dry_run: bool, as_json: bool) -> None:
    """Write sums from FILE into the database: all of them, or none if a line is wrong.

    The first line names the columns: type, measurement_name, data_unit, part, factor, optional. Each further line is a
    part of a sum. If FILE is -, stdin is read. A sum with the same type, measurement_name and data_unit is replaced.

    Example: emm combined import grid_power.csv
    """
    content = file.read()
    with open_config_database(load_settings(*env_files)) as engine, editing_registers(engine) as connection:
        rows, issues = read_combined_file(content, rows_of(connection, "registers"))
        if issues:
            lines = "\n  ".join(told(issues))
            raise ConfigurationError(f"nothing was written; {file.name} has errors:\n  {lines}")
        there = {row for each in load_type_rows(connection).values() for row in each.combined}
        remove, add = plan_combined_import(there, rows)
        if not dry_run:
            write_combined(connection, remove, add)
    if as_json:
        print_json({"added": len(add), "removed": len(remove), "written": not dry_run})
        return
    for line in combined_changes(add, remove):
        say(line)
    written = "nothing was written (--dry-run)" if dry_run else "written"
    say(f"{len(add)} parts of sums added, {len(remove)} removed; {written}")


@combined.command("export")
@click.argument("type_names", metavar="[TYPE]...", nargs=-1)
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file.")
@json_option
@click.pass_obj
def export_command(
    env_files: tuple[Path, ...], type_names: tuple[str, ...], output: Path | None, as_json: bool
) -> None:
    """Print the sums of types (default: all types) as CSV that `emm combined import` can read.

    Example: emm combined export sma_home_manager
    """
    rows = [row for each in load_named_types(env_files, type_names) for row in each.combined]
    if as_json:
        print_json([dict(zip(COMBINED_COLUMNS, row, strict=True)) for row in sorted(rows, key=str)])
        return
    write_export(write_combined_file(rows), output, f"{len(rows)} parts of sums")
