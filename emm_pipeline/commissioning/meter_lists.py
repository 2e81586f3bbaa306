"""Add a list of meters to the database, together with the types that it needs: for files, and for the units of a scan.

The page, the API and the command line use it. Nothing is written until the whole list was planned.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from emm_pipeline.catalog import load_catalogue
from emm_pipeline.commissioning.installing import PlannedType, plan_types, write_planned
from emm_pipeline.config_db.editing.meter_files import read_meter_file
from emm_pipeline.config_db.editing.meter_lists import MeterImport, plan_meters
from emm_pipeline.config_db.editing.meter_rows import load_for_import, lock_meters, write_meters
from emm_pipeline.config_db.editing.type_tables import editing_registers
from emm_pipeline.config_db.engine import database_errors
from emm_pipeline.config_db.validation.meters import gateway_address
from emm_pipeline.config_db.values import TRANSPORT_NAMES
from emm_pipeline.errors import ConfigurationError
from emm_pipeline.suggesting import suggestion

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Connection, Engine

    from emm_pipeline.config_db.csv_tables import CsvIssue
    from emm_pipeline.config_db.editing.meter_lists import MeterChange
    from emm_pipeline.fleet import GatewayAddress

    Lines = Sequence[tuple[int, Mapping[str, str | None]]]

ON_COMMAND_LINE = "add --update"
"""How a person allows that meters of the database change."""


@dataclass(frozen=True, slots=True)
class PlannedList:
    """Changes of a list: meters, and the types that are installed for them."""

    meters: MeterImport
    types: tuple[PlannedType, ...]


@dataclass(frozen=True, slots=True)
class MeterListImport:
    """A list of meters, each with its line number, and what it changes. Nothing is written before `write` is called.

    `issues` are those of the file and of its lines, in the order of the lines; `how_to_update` is what a person does so
    that meters of the database may change (None: they may).
    """

    lines: Lines
    how_to_update: str | None
    planned: PlannedList
    issues: Sequence[CsvIssue]

    def write(self, engine: Engine) -> None:
        """Write what was planned, in one transaction.

        Raises:
            ConfigurationError: The database was changed in the meantime. Nothing was written.
        """
        with editing_registers(engine) as connection:
            lock_meters(connection)
            if _plan(connection, self.lines, self.how_to_update) != self.planned:
                raise ConfigurationError(
                    "nothing was written: meters or types were changed by someone else in the meantime; repeat the "
                    "command"
                )
            write_planned(connection, self.planned.types)
            write_meters(connection, self.planned.meters.changes)

    def described(self) -> Iterator[str]:
        """Yield what changes, a line for each type and meter."""
        for each in self.planned.types:
            yield f"+ type {each.entry.name}: {each.entry.title}"
        yield from map(_described, self.planned.meters.changes)

    @property
    def counts(self) -> dict[str, int]:
        """The number of meters that are added, changed and unchanged, and of lines that are skipped."""
        meters = self.planned.meters
        return {
            "added": len(meters.added),
            "changed": len(meters.changes) - len(meters.added),
            "unchanged": meters.unchanged,
            "skipped": len({issue.line for issue in self.issues}),
        }

    def as_record(self, *, written: bool) -> dict[str, Any]:
        """Return the changes and the issues as types that JSON has."""
        return {
            **self.counts,
            "types": [each.entry.name for each in self.planned.types],
            "meters": [change.row for change in self.planned.meters.changes],
            "issues": [str(issue) for issue in self.issues],
            "written": written,
        }


def plan_file(
    engine: Engine, content: bytes, file_format: str, *, update: bool, how_to_update: str = ON_COMMAND_LINE
) -> MeterListImport:
    """Return what a file of meters changes.

    Args:
        engine: The configuration database.
        content: The file's bytes.
        file_format: `csv` or `yaml`.
        update: Whether meters that are in the database may change, too.
        how_to_update: What a person does to allow that.

    Raises:
        ConfigDatabaseError: The database cannot be read.
    """
    parsed = read_meter_file(content, file_format)
    found = plan_list(engine, parsed.rows, update=update, how_to_update=how_to_update)
    issues = sorted([*parsed.issues, *found.issues], key=lambda issue: issue.line or 0)
    return replace(found, issues=issues)


def plan_list(
    engine: Engine,
    lines: Lines,
    *,
    update: bool = False,
    how_to_update: str = ON_COMMAND_LINE,
) -> MeterListImport:
    """Return what a list of meters changes (`plan_file` explains the arguments)."""
    needed = None if update else how_to_update
    with database_errors(engine), engine.connect() as connection:
        planned = _plan(connection, lines, needed)
    return MeterListImport(lines, needed, planned, planned.meters.issues)


def _plan(connection: Connection, lines: Lines, how_to_update: str | None) -> PlannedList:
    # The catalogue also has variants of its types with other orders, over which it does not iterate.
    database, catalogue = load_for_import(connection), load_catalogue()
    plan = plan_meters(
        lines,
        database,
        can_install=catalogue.__contains__,
        explain_type=_explanation,
        how_to_update=how_to_update,
    )
    known = {str(row["type"]).strip() for row in database.registers}
    needed = [catalogue[name] for name in plan.types if name not in known]
    return PlannedList(plan, tuple(plan_types(connection, needed)))


def _described(change: MeterChange) -> str:
    if change.before is not None:
        return f"± meter {change.before['id']}: {', '.join(change.differences)}"
    row = change.row
    gateway = gateway_address(row["host"], row["port"], row["transport"], row.get("serial_settings"))
    name = f" ({row['description']})" if row.get("description") else ""
    return f"+ meter {row['id']}{name} at {gateway.short_name} unit {row['slave_address']}, type {row['type']}"


def _explanation(name: str) -> str:
    return f", neither in the database nor in the catalogue (emm types list){suggestion(name, load_catalogue())}"


def found_row(gateway: GatewayAddress, unit_id: int, type_name: str | None) -> dict[str, Any]:
    """Return a unit that a scan has found as a row of a list; its transport is left out if that is Modbus TCP."""
    is_usual = gateway.transport == TRANSPORT_NAMES[0]
    return {
        "host": gateway.host,
        "port": gateway.port,
        "unit": unit_id,
        "type": type_name,
        "transport": None if is_usual else str(gateway.transport),
        "serial_settings": gateway.serial_settings or None,
    }


def as_line(row: Mapping[str, Any]) -> tuple[int, dict[str, str | None]]:
    """Return a row of a unit as a line of a list, whose number is the unit id."""
    return row["unit"], {key: None if value is None else str(value) for key, value in row.items()}
