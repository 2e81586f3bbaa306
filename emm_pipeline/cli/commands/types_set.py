"""`emm types set`: change how EMM reads the meters of a type, such as `max_gap` and `timeout_s`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from emm_pipeline.catalog import load_catalogue
from emm_pipeline.cli.output import json_option, print_json, say
from emm_pipeline.config_db.editing.register_rows import SETTING_COLUMNS
from emm_pipeline.config_db.editing.type_tables import editing_registers, load_type_rows, write_settings
from emm_pipeline.config_db.loader import rows_of
from emm_pipeline.config_db.validation import check_rows
from emm_pipeline.errors import ConfigurationError
from emm_pipeline.fleet import MeterType
from emm_pipeline.modbus.planning import plan_requests
from emm_pipeline.opening import open_config_database
from emm_pipeline.settings import load_settings
from emm_pipeline.suggesting import suggestion

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

DEFAULT = "default"
_SWITCHES = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


@click.command("set")
@click.argument("type_name", metavar="TYPE")
@click.argument("settings", metavar="NAME=VALUE...", nargs=-1, required=True)
@json_option
@click.pass_obj
def set_command(env_files: tuple[Path, ...], type_name: str, settings: tuple[str, ...], as_json: bool) -> None:
    """Change the settings with which the meters of a type are read. The next poll uses them.

    NAME is max_registers_per_request, max_gap, timeout_s, request_pause_s, connect_pause_s, keep_connection,
    reopen_pause_s or register_bytes; docs/configuration.md describes them. VALUE `default` removes a setting.

    Example: emm types set em24 max_gap=0 timeout_s=5
    """
    changes = dict(map(_parsed, settings))
    with open_config_database(load_settings(*env_files)) as engine, editing_registers(engine) as connection:
        types = load_type_rows(connection)
        if not types.get(type_name) or not types[type_name].registers:
            raise ConfigurationError(_unknown(type_name, types))
        before = dict(zip(SETTING_COLUMNS, types[type_name].settings or (None,) * len(SETTING_COLUMNS), strict=True))
        after = before | changes
        _require_valid(type_name, after, rows_of(connection, "registers"))
        row = tuple(after[name] for name in SETTING_COLUMNS)
        write_settings(connection, type_name, row if any(value is not None for value in row) else None)
    if as_json:
        print_json({"type": type_name, "before": before, "after": after})
        return
    different = [name for name in changes if before[name] != after[name]]
    told = ", ".join(f"{name} {_shown(name, before[name])} → {_shown(name, after[name])}" for name in different)
    say(f"{type_name}: {told or 'nothing to change'}")


def _parsed(text: str) -> tuple[str, Any]:
    """Return a setting's name and value; None stands for the default."""
    name, sign, value = (part.strip() for part in text.partition("="))
    if not sign:
        raise click.UsageError(f"{text!r} is not NAME=VALUE; an example: max_gap=0")
    if name not in SETTING_COLUMNS:
        hint = suggestion(name, SETTING_COLUMNS) or f"; allowed: {', '.join(SETTING_COLUMNS)}"
        raise click.UsageError(f"there is no setting {name!r}{hint}")
    if value.lower() in {DEFAULT, ""}:
        return name, None
    if value.lower() in _SWITCHES:
        return name, _SWITCHES[value.lower()]
    try:
        number = float(value)
    except ValueError:
        return name, value  # the check of the row says which values are allowed
    return name, int(number) if number.is_integer() else number


def _require_valid(type_name: str, settings: Mapping[str, Any], registers: Sequence[Mapping[str, Any]]) -> None:
    """Raise a ConfigurationError if a setting is invalid, or if the type's registers cannot be requested with them."""
    fleet = check_rows([], registers, [{"type": type_name, **settings}])
    issues = [issue for issue in fleet.issues if issue.table == "meter_types"]
    if issues:
        raise ConfigurationError("; ".join(f"{issue.column} {issue.reason}" for issue in issues))
    # With a limit below a register's size, the check has left the register out: check the rows without the limit.
    unlimited = check_rows([], registers, [{"type": type_name, **settings, "max_registers_per_request": None}])
    limit = settings["max_registers_per_request"]
    if type_name in unlimited.types and limit is not None:
        try:
            plan_requests(replace(unlimited.types[type_name], max_registers_per_request=limit))
        except ValueError as err:
            raise ConfigurationError(str(err)) from None


def _shown(name: str, value: Any) -> str:
    return f"{value}" if value is not None else f"{getattr(MeterType(''), name)} (default)"


def _unknown(name: str, types: Mapping[str, object]) -> str:
    catalogue: Collection[str] = load_catalogue()
    if name in catalogue:
        return f"type {name} is not in the database; the catalogue has it: emm types install {name}"
    return f"there is no type {name!r} in the database; emm types list shows the existing ones{suggestion(name, types)}"
