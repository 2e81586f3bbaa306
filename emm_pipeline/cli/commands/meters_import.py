"""`emm meters import` and `export`: lists of meters, from and to CSV and YAML files."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import click

from emm_pipeline.cli.exporting import write_export
from emm_pipeline.cli.output import confirm, json_option, print_json, say, yes_option
from emm_pipeline.commissioning.meter_lists import plan_file
from emm_pipeline.config_db.csv_tables import told
from emm_pipeline.config_db.editing.meter_files import format_of, listed, write_meter_file
from emm_pipeline.config_db.editing.meter_rows import load_meter_rows
from emm_pipeline.errors import ConfigurationError
from emm_pipeline.opening import open_config_database
from emm_pipeline.settings import load_settings
from emm_pipeline.stores.texts import number_of

FORMAT = click.option(
    "--format", "file_format", type=click.Choice(["csv", "yaml"]), help="Of the file.  [default: by its name, else csv]"
)


@click.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--update", is_flag=True, help="Change meters that are in the database, too: same host, port and unit.")
@click.option("--skip-errors", is_flag=True, help="Write the meters whose lines are right, even if others are wrong.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@FORMAT
@yes_option
@json_option
@click.pass_obj
def import_command(
    env_files: tuple[Path, ...],
    file: BinaryIO,
    update: bool,
    skip_errors: bool,
    dry_run: bool,
    file_format: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Add the meters of FILE to the database: all of them, or none if a line is wrong.

    FILE is CSV or YAML, with host, unit and type of each meter, and more if needed: port, description, id, enabled,
    transport, serial_settings, factor, may_be_off, max_power_w, tariff. Types of the catalogue are installed after
    asking. If FILE is -, stdin is read. `emm scan --save FILE` and `emm meters export` write such files.

    Example: emm meters import meters.csv
    """
    content, kind = file.read(), file_format or format_of(file.name) or "csv"
    with open_config_database(load_settings(*env_files)) as engine:
        plan = plan_file(engine, content, kind, update=update)
        skipped = "\n  ".join(told(plan.issues))
        if skipped and not skip_errors:
            raise ConfigurationError(f"nothing was written; {file.name} has errors:\n  {skipped}")
        if not as_json:
            for line in plan.described():
                say(line)
        is_written = not dry_run and bool(plan.planned.meters.changes)
        if is_written:
            is_certain = yes or not (plan.planned.types or update)
            confirm("Write this into the database?", yes=is_certain)
            plan.write(engine)
    counts = plan.counts
    if as_json:
        print_json(plan.as_record(written=is_written))
        return
    if skipped:
        say(f"skipped:\n  {skipped}")
    end = "written" if is_written else "nothing was written" + (" (--dry-run)" if dry_run else "")
    say(f"{', '.join(f'{number} {what}' for what, number in counts.items())}; {end}")
    if is_written and counts["added"]:
        say("first reading within two minutes")


@click.command("export")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file.")
@FORMAT
@json_option
@click.pass_obj
def export_command(env_files: tuple[Path, ...], output: Path | None, file_format: str | None, as_json: bool) -> None:
    """Print all meters as a list that `emm meters import` can read.

    Example: emm meters export -o meters.csv
    """
    with open_config_database(load_settings(*env_files)) as engine:
        rows = [listed(row) for row in load_meter_rows(engine)]
    if as_json:
        print_json(rows)
        return
    kind = file_format or (format_of(output.name) if output else None) or "csv"
    write_export(write_meter_file(rows, kind), output, number_of(len(rows), "meter"))
