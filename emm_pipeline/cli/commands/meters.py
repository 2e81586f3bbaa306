"""`emm meters …`: list, add, edit and remove meters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from emm_pipeline.cli.addresses import UNIT_ID
from emm_pipeline.cli.lazy import LazyGroup
from emm_pipeline.cli.links import transport_options
from emm_pipeline.cli.meter_names import find_meters, named
from emm_pipeline.cli.output import confirm, json_option, print_json, say, yes_option
from emm_pipeline.cli.showing import meter_list
from emm_pipeline.commissioning.type_names import find_type
from emm_pipeline.condition.meters import meter_conditions
from emm_pipeline.condition.records import meter_records
from emm_pipeline.config_db.editing.meter_rows import edit_meter, load_meter_rows, remove_meters
from emm_pipeline.config_db.loader import load_fleet
from emm_pipeline.fleet import SERIAL_PORT
from emm_pipeline.opening import open_config_database
from emm_pipeline.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sqlalchemy import Engine

_COLUMNS = (
    *("host", "port", "slave_address", "type", "description", "enabled", "transport", "serial_settings"),
    *("factor", "may_be_off", "max_power_w", "tariff"),
)


LAZY = {
    "add": "commands.meters_add:add_command",
    "check": "commands.meters_check:check_command",
    "export": "commands.meters_import:export_command",
    "import": "commands.meters_import:import_command",
}


@click.group("meters", cls=LazyGroup, lazy=LAZY)
def meters() -> None:
    """The meters in the database: list, add, edit, remove, enable, disable, check, import, export."""


@meters.command("list")
@json_option
@click.pass_obj
def list_command(env_files: tuple[Path, ...], as_json: bool) -> None:
    """Show every meter: its address, its status, and the reason if it is not read.

    Example: emm meters list
    """
    settings = load_settings(*env_files)
    with open_config_database(settings) as engine:
        conditions = meter_conditions(engine, settings)
    if as_json:
        print_json(meter_records(conditions))
    else:
        meter_list.print_list(conditions)


@meters.command("edit")
@click.argument("meter")
@click.option("--host", help="Name or address.")
@click.option("--port", type=click.IntRange(1, 65535))
@click.option("--unit", type=UNIT_ID, help="Modbus unit id, 0 to 255.")
@click.option("--type", "type_name", help="Name of the type in the table registers.")
@click.option("--description", help="Its name for people.")
@click.option("--no-description", is_flag=True, help="Remove the description.")
@click.option("--factor", type=float, help="Its transformers' ratio; negative where it is mounted backwards.")
@click.option("--max-power", type=click.FloatRange(0, min_open=True), help="The most that can flow through it, in W.")
@click.option("--tariff", help="Name of its prices in the table tariffs, for the cost of its energy.")
@click.option(
    "--may-be-off/--always-on",
    default=None,
    help="Whether it may be silent, as an inverter at night.",
)
@transport_options
@click.option("--force", is_flag=True, help="Change it even if another meter is the same unit.")
@json_option
@click.pass_obj
def edit_command(
    env_files: tuple[Path, ...],
    meter: str,
    host: str | None,
    port: int | None,
    unit: int | None,
    type_name: str | None,
    description: str | None,
    no_description: bool,
    factor: float | None,
    max_power: float | None,
    tariff: str | None,
    may_be_off: bool | None,
    transport: str | None,
    serial_settings: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Change a meter. METER is its id or description. The next poll uses the new values.

    Example: emm meters edit 1 --host 192.168.1.114
    """
    if no_description and description is not None:
        raise click.UsageError("give either --description or --no-description, not both")
    given: dict[str, Any] = {"host": host, "port": port, "slave_address": unit, "type": type_name}
    given |= {"description": description, "transport": transport, "serial_settings": serial_settings}
    given |= {"factor": factor, "may_be_off": may_be_off, "max_power_w": max_power, "tariff": tariff}
    changes: dict[str, Any] = {column: value for column, value in given.items() if value is not None}
    if no_description:
        changes["description"] = None
    if host and host.startswith("/"):
        changes = {"port": SERIAL_PORT, "transport": "serial", **changes}
    if not changes:
        raise click.UsageError(
            "nothing to change: give --host, --port, --unit, --type, --description, --no-description, --transport, "
            "--serial, --factor, --max-power, --tariff, --may-be-off or --always-on"
        )
    with open_config_database(load_settings(*env_files)) as engine:
        if type_name:
            find_type(load_fleet(engine, all_types=True), type_name, in_database=True)
        _edit_and_tell(engine, [meter], changes, as_json=as_json, force=force)


@meters.command("enable")
@click.argument("meter", nargs=-1, required=True)
@json_option
@click.pass_obj
def enable_command(env_files: tuple[Path, ...], meter: tuple[str, ...], as_json: bool) -> None:
    """Poll meters again. The first reading comes within two minutes.

    Example: emm meters enable 1
    """
    with open_config_database(load_settings(*env_files)) as engine:
        _edit_and_tell(engine, meter, {"enabled": True}, as_json=as_json)


@meters.command("disable")
@click.argument("meter", nargs=-1, required=True)
@json_option
@click.pass_obj
def disable_command(env_files: tuple[Path, ...], meter: tuple[str, ...], as_json: bool) -> None:
    """Stop polling meters; they stay in the database.

    Example: emm meters disable 1 2
    """
    with open_config_database(load_settings(*env_files)) as engine:
        _edit_and_tell(engine, meter, {"enabled": False}, as_json=as_json)


@meters.command("remove")
@click.argument("meter", nargs=-1, required=True)
@yes_option
@json_option
@click.pass_obj
def remove_command(env_files: tuple[Path, ...], meter: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Delete meters from the database. Their readings stay in the store.

    Example: emm meters remove 1
    """
    with open_config_database(load_settings(*env_files)) as engine:
        rows = find_meters(load_meter_rows(engine), meter)
        confirm(f"Remove {', '.join(map(named, rows))}?", yes=yes)
        remove_meters(engine, [row["id"] for row in rows])
    if as_json:
        print_json({"removed": [row["id"] for row in rows]})
    else:
        for row in rows:
            say(f"removed {named(row)} at {row['host']}:{row['port']} unit {row['slave_address']}; its readings stay")


def _edit_and_tell(
    engine: Engine, names: Sequence[str], changes: Mapping[str, Any], *, as_json: bool, force: bool = False
) -> None:
    edited = [
        edit_meter(engine, row["id"], changes, allow_same_unit=force)
        for row in find_meters(load_meter_rows(engine), names)
    ]
    if as_json:
        print_json([{"before": before, "after": after} for before, after in edited])
        return
    for before, after in edited:
        differences = [
            f"{column} {before.get(column)!r} → {after[column]!r}"
            for column in _COLUMNS
            if column in after and before.get(column) != after[column]
        ]
        say(f"{named(after)}: {', '.join(differences) or 'nothing to change'}")
