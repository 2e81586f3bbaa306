"""`emm registers …`: the table `registers` from and to CSV files, and registers that a meter does not have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from emm_pipeline.cli.exporting import load_named_types, write_export
from emm_pipeline.cli.groups import CommandGroup
from emm_pipeline.cli.meter_names import find_meters
from emm_pipeline.cli.output import json_option, print_json, say
from emm_pipeline.cli.showing.register_tables import print_changes
from emm_pipeline.config_db.csv_tables import told
from emm_pipeline.config_db.device_state.register_issues import accept, expect_again, load_accepted, load_issues
from emm_pipeline.config_db.editing.meter_rows import load_meter_rows
from emm_pipeline.config_db.editing.register_files import write_register_file
from emm_pipeline.config_db.editing.register_imports import import_registers
from emm_pipeline.config_db.editing.register_rows import REGISTER_COLUMNS
from emm_pipeline.config_db.loader import load_fleet
from emm_pipeline.config_db.validation.meters import id_of
from emm_pipeline.errors import ConfigurationError
from emm_pipeline.opening import open_config_database
from emm_pipeline.settings import load_settings
from emm_pipeline.status import RegisterIssueKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine


@click.group("registers", cls=CommandGroup)
def registers() -> None:
    """The table registers, from and to CSV files; registers that a meter does not have."""


@registers.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--replace", is_flag=True, help="Also remove registers that the file's types have only in the database.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@json_option
@click.pass_obj
def import_command(env_files: tuple[Path, ...], file: BinaryIO, replace: bool, dry_run: bool, as_json: bool) -> None:
    """Write registers from FILE into the database: all of them, or none if a line is wrong.

    The first line names the columns, which are those of the table registers. Lines that begin with # are comments. If
    FILE is -, stdin is read. A register with the same type, measurement_name and data_unit is replaced.

    Example: emm registers import my_meter.csv
    """
    content = file.read()
    with open_config_database(load_settings(*env_files)) as engine:
        done = import_registers(engine, content, replace=replace, dry_run=dry_run)
    if done.issues:
        lines = "\n  ".join(told(done.issues))
        raise ConfigurationError(f"nothing was written; {file.name} has errors:\n  {lines}")
    if as_json:
        print_json(done.as_record())
        return
    if done.plan.add or done.plan.remove:
        print_changes(done.plan.add, done.plan.remove)
    counts = ", ".join(f"{number} {what}" for what, number in done.counts.items())
    written = "nothing was written (--dry-run)" if dry_run else "written"
    say(f"{', '.join(done.types) or 'no types'}: {counts}; {written}")


@registers.command("export")
@click.argument("type_names", metavar="[TYPE]...", nargs=-1)
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file.")
@json_option
@click.pass_obj
def export_command(
    env_files: tuple[Path, ...], type_names: tuple[str, ...], output: Path | None, as_json: bool
) -> None:
    """Print the registers of types (default: all types) as CSV that `emm registers import` can read.

    Example: emm registers export sdm630 -o sdm630.csv
    """
    rows = [row for each in load_named_types(env_files, type_names) for row in each.registers]
    if as_json:
        print_json([dict(zip(REGISTER_COLUMNS, row, strict=True)) for row in sorted(rows, key=str)])
        return
    write_export(write_register_file(rows), output, f"{len(rows)} registers")


@registers.command("accept-absent")
@click.argument("meter")
@click.argument("measurements", metavar="[MEASUREMENT]...", nargs=-1)
@click.option("--undo", is_flag=True, help="Expect the measurements again.")
@json_option
@click.pass_obj
def accept_absent_command(
    env_files: tuple[Path, ...], meter: str, measurements: tuple[str, ...], undo: bool, as_json: bool
) -> None:
    """Accept that METER does not have MEASUREMENTs of its type, so that it is ok without them.

    METER is an id or a description. Without a MEASUREMENT, all those are accepted that were absent when the meter was
    last read. Polls still read the registers, and store their values if the device sends them.

    Example: emm registers accept-absent 1 powerFactorL3
    """
    with open_config_database(load_settings(*env_files)) as engine:
        (row,) = find_meters(load_meter_rows(engine), (meter,))
        id_ = id_of(row)
        if id_ is None:
            raise ConfigurationError(f"meter {meter!r} has no usable id")
        before = load_accepted(engine).get(id_, set())
        names = list(measurements) or (sorted(before) if undo else _absent(engine, id_))
        _require_measurements(engine, str(row.get("type")), names)
        if names:
            (expect_again if undo else accept)(engine, id_, names)
        accepted = sorted(load_accepted(engine).get(id_, set()))
    if as_json:
        print_json({"id": id_, "accepted_absent": accepted})
    elif not names:
        say(f"meter {id_}: nothing to {'take back' if undo else 'accept: every register was delivered'}")
    else:
        say(f"meter {id_}: {', '.join(names)} {'is expected again' if undo else 'may be absent'}")


def _absent(engine: Engine, meter_id: int) -> list[str]:
    absent = {RegisterIssueKind.ABSENT, RegisterIssueKind.UNSUPPORTED}
    return [issue.measurement for issue in load_issues(engine).get(meter_id, ()) if issue.kind in absent]


def _require_measurements(engine: Engine, type_name: str, names: Sequence[str]) -> None:
    meter_type = load_fleet(engine, all_types=True).types.get(type_name.strip())
    known = {register.measurement_name for register in meter_type.registers} if meter_type else set()
    if missing := [name for name in names if name not in known]:
        raise ConfigurationError(
            f"type {type_name} has no measurement {', '.join(map(repr, missing))}; "
            f"emm types show {type_name} lists those that it has"
        )
