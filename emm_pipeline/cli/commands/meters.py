"""`emm meters …`: list, add, edit and remove meters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from emm_pipeline.catalog import load_catalogue
from emm_pipeline.cli.addresses import ENDPOINT, Endpoint
from emm_pipeline.cli.lazy import LazyGroup
from emm_pipeline.cli.links import gateway_of, shown_gateway, transport_options
from emm_pipeline.cli.meter_names import find_meters
from emm_pipeline.cli.output import confirm, json_option, print_json, say, yes_option
from emm_pipeline.cli.showing import meter_list
from emm_pipeline.cli.suggesting import suggestion
from emm_pipeline.condition.meters import meter_conditions
from emm_pipeline.config_db.editing.meter_rows import add_meter, edit_meter, load_meter_rows, remove_meters
from emm_pipeline.config_db.editing.type_tables import load_types_of
from emm_pipeline.config_db.loader import load_fleet
from emm_pipeline.errors import ConfigurationError
from emm_pipeline.fleet import SERIAL_PORT
from emm_pipeline.opening import open_config_database
from emm_pipeline.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sqlalchemy import Engine

    from emm_pipeline.config_db.editing.meter_rows import MeterRow

_COLUMNS = (
    *("host", "port", "slave_address", "type", "description", "enabled", "transport", "serial_settings"),
    *("factor", "may_be_off"),
)


_FILES = {"check": "check", "export": "import", "import": "import"}
LAZY = {name: f"commands.meters_{file}:{name}_command" for name, file in _FILES.items()}


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
        print_json(meter_list.as_json(conditions))
    else:
        meter_list.print_list(conditions)


@meters.command("add")
@click.argument("address", type=ENDPOINT, metavar="HOST[:PORT]")
@click.option("--unit", type=int, required=True, help="Modbus unit id, 0 to 255.")
@click.option("--type", "type_name", required=True, help="Name of the type in the table registers.")
@click.option("--description", help="Its name for people; a tag of each point.")
@click.option("--id", "id_", type=int, help="Its id; default: the next one that no meter ever had.")
@click.option("--disabled", is_flag=True, help="Do not poll it yet.")
@click.option("--factor", type=float, help="Its transformers' ratio; negative where it is mounted backwards.")
@click.option("--may-be-off", is_flag=True, help="It may be silent without failing, such as an inverter at night.")
@transport_options
@click.option("--force", is_flag=True, help="Add it even if another meter is the same unit or had the id.")
@json_option
@click.pass_obj
def add_command(
    env_files: tuple[Path, ...],
    address: Endpoint,
    unit: int,
    type_name: str,
    description: str | None,
    id_: int | None,
    disabled: bool,
    factor: float | None,
    may_be_off: bool,
    transport: str | None,
    serial_settings: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Add a meter. Its first reading comes within two minutes. HOST is a path, such as /dev/ttyUSB0, for a serial line.

    Example: emm meters add 192.168.1.113 --unit 1 --type sdm630 --description "main distribution"
    """
    gateway = gateway_of(address, transport, serial_settings)
    row: MeterRow = {
        "host": gateway.host,
        "port": gateway.port,
        "transport": str(gateway.transport),
        "serial_settings": gateway.serial_settings or None,
        "slave_address": unit,
        "type": type_name,
        "description": description,
        "enabled": not disabled,
        "may_be_off": may_be_off,
        **({} if factor is None else {"factor": factor}),
    }
    with open_config_database(load_settings(*env_files)) as engine:
        _require_type(engine, type_name)
        added = add_meter(engine, row | ({"id": id_} if id_ is not None else {}), force=force)
    if as_json:
        print_json(added)
    else:
        when = "not polled until: emm meters enable" if disabled else "first reading within two minutes"
        say(f"added {_named(added)} at {shown_gateway(gateway)} unit {unit}, type {type_name}: {when}")


@meters.command("edit")
@click.argument("meter")
@click.option("--host", help="Name or address.")
@click.option("--port", type=click.IntRange(1, 65535))
@click.option("--unit", type=int, help="Modbus unit id, 0 to 255.")
@click.option("--type", "type_name", help="Name of the type in the table registers.")
@click.option("--description", help="Its name for people.")
@click.option("--no-description", is_flag=True, help="Remove the description.")
@click.option("--factor", type=float, help="Its transformers' ratio; negative where it is mounted backwards.")
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
    given |= {"factor": factor, "may_be_off": may_be_off}
    changes: dict[str, Any] = {column: value for column, value in given.items() if value is not None}
    if no_description:
        changes["description"] = None
    if host and host.startswith("/"):
        changes = {"port": SERIAL_PORT, "transport": "serial", **changes}
    if not changes:
        raise click.UsageError("nothing to change: give an option; emm meters edit --help lists them")
    with open_config_database(load_settings(*env_files)) as engine:
        if type_name:
            _require_type(engine, type_name)
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
        confirm(f"Remove {', '.join(map(_named, rows))}?", yes=yes)
        remove_meters(engine, [row["id"] for row in rows])
    if as_json:
        print_json({"removed": [row["id"] for row in rows]})
    else:
        for row in rows:
            say(f"removed {_named(row)} at {row['host']}:{row['port']} unit {row['slave_address']}; its readings stay")


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
        say(f"{_named(after)}: {', '.join(differences) or 'nothing to change'}")


def _require_type(engine: Engine, name: str) -> None:
    """Raise an error that says what to do if the database does not have the type."""
    name = name.strip()
    if name in load_fleet(engine, all_types=True).types:
        return
    catalogue = load_catalogue()
    if name in catalogue:
        raise ConfigurationError(f"type {name} is not in the database; the catalogue has it: emm types install {name}")
    known = load_types_of(engine)
    raise ConfigurationError(
        f"there is no type {name!r}, neither in the database ({', '.join(known) or 'none'}) nor in the catalogue "
        f"(emm types list){suggestion(name, {*known, *catalogue})}"
    )


def _named(row: Mapping[str, Any]) -> str:
    return f"meter {row['id']}" + (f" ({row['description']})" if row.get("description") else "")
