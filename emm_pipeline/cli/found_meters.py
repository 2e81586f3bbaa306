"""The units that a scan has found as meters: written to a file, or added to the database after asking."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from emm_pipeline.cli.exporting import write_export
from emm_pipeline.cli.output import can_ask, confirm, note, printable, say
from emm_pipeline.cli.showing.next_steps import (
    add_line,
    check_line,
    decided_type,
    equal_types,
    meter_of,
    new_units,
    setting_lines,
)
from emm_pipeline.commissioning.meter_lists import as_line, found_row, plan_list
from emm_pipeline.config_db.editing.meter_files import format_of, write_meter_file
from emm_pipeline.errors import ConfigurationError
from emm_pipeline.stores.texts import number_of

if TYPE_CHECKING:
    from pathlib import Path

    from emm_pipeline.cli.gateways import KnownFleet
    from emm_pipeline.commissioning.endpoints import Endpoint
    from emm_pipeline.commissioning.scan_state import FoundUnit, Scan
    from emm_pipeline.fleet import GatewayAddress
    from emm_pipeline.modbus.session import Timing

MOST_OFFERED = 9
"""Number of possible types among which a person is asked to choose."""


def require_database(known: KnownFleet, *, yes: bool) -> None:
    """Make sure, before a scan, that meters can be added after it.

    Raises:
        ConfigurationError: There is no configuration database.
        click.UsageError: There is no terminal to ask on, and `yes` is false.
    """
    if known.engine is None:
        raise ConfigurationError(f"--add needs the configuration database: {known.reason}")
    if not yes and not can_ask():
        raise click.UsageError("--add asks before it writes, and there is no terminal to ask on: add --yes")


def require_folder(file: Path) -> None:
    """Make sure, before a scan, that its result can be written to a file after it.

    Raises:
        ConfigurationError: The folder does not exist.
    """
    if not file.absolute().parent.is_dir():
        raise ConfigurationError(f"--save: there is no folder {file.absolute().parent}")


def save(file: Path, endpoint: Endpoint, gateway: GatewayAddress, state: Scan, known: KnownFleet) -> None:
    """Write all units that were found to a file for `emm meters import`; the type is empty where it is not certain."""
    rows, remarks = [], [f"found by emm scan {endpoint.text}; add the meters with: emm meters import {file.name}"]
    for found in (each for each in state.found if each.same_as is None):
        meter = meter_of(known, endpoint, found.unit_id)
        type_name = meter.type if meter else decided_type(found)
        row = found_row(gateway, found.unit_id, type_name)
        rows.append(row | ({"description": meter.description, "id": meter.id} if meter else {}))
        if not type_name:
            possible = ", ".join(each.type for each in (found.candidates or ())[:MOST_OFFERED])
            none = "not compared with the catalogue" if found.candidates is None else "none of the catalogue"
            remarks.append(f"unit {found.unit_id}: enter its type; possible: {possible or none}")
    text = write_meter_file(rows, format_of(file.name) or "csv", remarks)
    write_export(text, file, number_of(len(rows), "unit"))


def add(
    endpoint: Endpoint, gateway: GatewayAddress, state: Scan, known: KnownFleet, timing: Timing, *, yes: bool
) -> int:
    """Add the new units whose type is certain, or chosen by a person, after asking; install their types.

    Returns:
        The number of units that were left out without a person having decided so.
    """
    assert known.engine  # noqa: S101 - `require_database` was called
    new = new_units(state, known, endpoint)
    chosen, left_out = {}, 0
    for found in new:
        type_name = decided_type(found)
        if type_name is None and found.candidates and not yes:
            type_name = _chosen(found)
        elif type_name is None:
            left_out += 1
            _say_left_out(endpoint, gateway, found)
        if type_name:
            chosen[found.unit_id] = found_row(gateway, found.unit_id, type_name)
    lines = [as_line(row) for row in chosen.values()]
    if not lines:
        say("\nnothing to add")
        return left_out
    plan = plan_list(known.engine, lines)
    for issue in plan.issues:
        note(f"unit {issue.line} is left out: {issue.reason}")
    left_out += len(plan.issues)
    added = number_of(len(plan.planned.meters.changes), "meter")
    if not plan.planned.meters.changes:
        return left_out
    say("\nThis will be written into the database:\n")
    say("\n".join(plan.described()))
    confirm(f"Add {added}?", yes=yes)
    plan.write(known.engine)
    say(f"added {added}: first reading within two minutes")
    if settings := setting_lines(new, known, timing):
        say("\nTheir replies were slow, or needed a pause. To read them in the same way:\n")
        for line in settings:
            say(f"  {line}")
    return left_out


def _say_left_out(endpoint: Endpoint, gateway: GatewayAddress, found: FoundUnit) -> None:
    """Say why a unit is not added, and with which command it can be."""
    unit = f"unit {found.unit_id} is not added"
    if equal := equal_types(found):
        note(f"{unit}: {', '.join(equal)} fit equally well. Use the line with the type on its label:")
        for type_name in equal:
            note(f"  {add_line(endpoint, gateway, found, type_name)}")
    elif found.candidates:
        note(f"{unit}: its type is not certain. To compare its values with its display:")
        note(f"  {check_line(endpoint, gateway, found)}")
    elif found.candidates is None:
        note(f"{unit}: it was not compared with the catalogue")
    else:
        note(f"{unit}: it is not in the catalogue")


def _chosen(found: FoundUnit) -> str | None:
    """Ask a person for the type of a unit; return None if it is to be left out."""
    names = [each.type for each in found.candidates or ()][:MOST_OFFERED]
    offered = ", ".join(f"{number} {name}" for number, name in enumerate(names, 1))
    question = printable(f"Unit {found.unit_id}: {offered}, 0 to leave it out")
    number = click.prompt(question, type=click.IntRange(0, len(names)), default=0, err=True)
    return names[number - 1] if number else None
