"""`emm types …`: show the catalogue of known device types, and install types into the database."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from emm_pipeline.catalog import KINDS, load_catalogue
from emm_pipeline.cli.commands.types_install import diff_command, install_command
from emm_pipeline.cli.commands.types_set import set_command
from emm_pipeline.cli.gateways import known_fleet
from emm_pipeline.cli.groups import CommandGroup
from emm_pipeline.cli.output import json_option, note, print_json, say
from emm_pipeline.cli.showing.register_tables import (
    combined_line,
    print_registers,
    registers_as_json,
)
from emm_pipeline.cli.showing.tables import print_table
from emm_pipeline.commissioning.type_lists import Wanted, listed
from emm_pipeline.config_db.editing.meter_rows import load_meter_rows
from emm_pipeline.config_db.editing.type_tables import (
    load_types_of,
)
from emm_pipeline.errors import ConfigurationError
from emm_pipeline.modbus.planning import plan_requests
from emm_pipeline.suggesting import suggestion

if TYPE_CHECKING:
    from pathlib import Path

    from emm_pipeline.catalog import CatalogueType
    from emm_pipeline.cli.gateways import KnownFleet


@click.group("types", cls=CommandGroup)
def types() -> None:
    """Meter types: those of the catalogue, and those in the database."""


@types.command("list")
@click.argument("words", nargs=-1, metavar="[WORD...]")
@click.option("--kind", type=click.Choice(KINDS), help="Only devices of this kind.")
@click.option("--maker", help="Only devices of this maker, or a part of its name.")
@json_option
@click.pass_obj
def list_command(
    env_files: tuple[Path, ...], words: tuple[str, ...], kind: str | None, maker: str | None, as_json: bool
) -> None:
    """Show the types of the catalogue and of the database, and how many meters use each.

    With words, only types whose name, device, maker or alias contains all of them.

    State in the database: `as in the catalogue`, `edited` (it differs), or `own` (not in the catalogue).

    Example: emm types list --kind hybrid sungrow
    """
    with known_fleet(env_files) as known:
        database = load_types_of(known.engine) if known.engine else {}
        used = Counter(str(row["type"]).strip() for row in load_meter_rows(known.engine)) if known.engine else Counter()
    entries = listed(load_catalogue(), database, used, Wanted(words, kind, maker))
    if as_json:
        print_json(entries)
        return
    if not entries:
        say("no type matches; emm types list shows all")
        return
    headers = ["type", "device", "kind", "registers", "in the database", "meters"]
    columns = ["type", "title", "kind", "registers", "database", "meters"]
    if known.engine is None:
        del headers[4:], columns[4:]
    rows = [[entry[name] or None for name in columns] for entry in entries]
    print_table(headers, rows, right=("registers", "meters"), below=("registers", "kind", "in the database", "meters"))
    _say_that_it_is_the_catalogue(known)


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
    with known_fleet(env_files) as known:
        fleet = known.fleet
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
        say(f"{entry.kind} of {entry.vendor}; {', '.join(entry.interfaces)}")
        if entry.aliases:
            say(f"also: {', '.join(entry.aliases)}")
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
    _say_that_it_is_the_catalogue(known)


def _say_that_it_is_the_catalogue(known: KnownFleet) -> None:
    if known.engine is None:
        note(f"only the catalogue is shown, because there is no database: {known.reason}")


def _head(entry: CatalogueType) -> dict[str, Any]:
    names = ("title", "vendor", "kind", "interfaces", "aliases", "document", "sources", "notes")
    return {name: getattr(entry, name) for name in names}


types.add_command(install_command)
types.add_command(diff_command)
types.add_command(set_command)
