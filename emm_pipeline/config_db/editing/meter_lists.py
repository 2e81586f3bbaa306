"""Plan the import of a list of meters: which are new, which change, and what is wrong, line by line (pure)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from emm_pipeline.config_db.csv_tables import CsvIssue
from emm_pipeline.config_db.editing.meter_cells import columns_of, row_of
from emm_pipeline.config_db.validation import check_rows
from emm_pipeline.config_db.validation.meters import id_of
from emm_pipeline.config_db.validation.tariffs import unknown_tariff
from emm_pipeline.config_db.values import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from emm_pipeline.fleet import EnergyMeter

    Cells = Mapping[str, str | None]
    Row = Mapping[str, Any]

_ANY_REGISTER = {
    "register_address": 0,
    "measurement_name": "any",
    "data_unit": None,
    "data_type": 1,
    "function_code": 3,
    "word_order": 2,
    "byte_order": 2,
}
"""Stands for the registers of a type that will be installed."""

_DEFAULTS = {"enabled": True, "factor": 1.0, "may_be_off": False}


@dataclass(slots=True)
class MeterChange:
    """A meter that an import writes, and the line that describes it. `before` is its present row, None if it is new."""

    line: int
    row: dict[str, Any]
    before: Row | None = None

    @property
    def differences(self) -> list[str]:
        """Return the columns that change, with both values."""
        before = self.before or {}
        return [f"{name} {before.get(name)!r} → {new!r}" for name, new in self.row.items() if before.get(name) != new]


@dataclass(slots=True)
class MeterImport:
    """The changes that an import makes, and the issues of its lines."""

    changes: list[MeterChange] = field(default_factory=list)
    unchanged: int = 0
    issues: list[CsvIssue] = field(default_factory=list)

    @property
    def added(self) -> list[MeterChange]:
        """The new meters."""
        return [each for each in self.changes if each.before is None]

    @property
    def types(self) -> list[str]:
        """The types of the meters that are written."""
        return sorted({each.row["type"] for each in self.changes})


@dataclass(frozen=True, slots=True)
class Database:
    """The present rows of the tables that an import depends on."""

    meters: Sequence[Row]
    registers: Sequence[Row]
    types: Sequence[Row]
    used_ids: Collection[int] = ()
    tariffs: Collection[str] = ()


def plan_meters(
    lines: Sequence[tuple[int, Cells]],
    database: Database,
    *,
    can_install: Callable[[str], bool],
    explain_type: Callable[[str], str],
    how_to_update: str | None,
) -> MeterImport:
    """Plan the import of meters.

    Args:
        lines: Each meter's line number and cells.
        database: The present rows.
        can_install: Whether a type that the database does not have can be installed.
        explain_type: Returns what to do about a type that does not exist.
        how_to_update: What a person does so that meters of the database may change; None: they may.
    """
    plan = MeterImport()
    places: dict[tuple[Any, ...], int] = {}
    present = {(row["host"], row["port"], row["slave_address"]): row for row in database.meters}
    for line, cells, meter in _checked(lines, database, can_install, explain_type, plan.issues):
        place = meter.host, meter.port, meter.unit_id
        if place in places:
            reason = f"unit {meter.unit_id} at {meter.address} is already in line {places[place]}"
            plan.issues.append(CsvIssue(line, reason))
            continue
        places[place] = line
        try:
            row = _known_tariff(row_of(meter, cells), database.tariffs)
        except InvalidValueError as err:
            plan.issues.append(CsvIssue(line, str(err)))
            continue
        before = present.get(place)
        if before is None:
            plan.changes.append(MeterChange(line, {**_DEFAULTS, "description": None, **row}))
            continue
        row = {name: value for name, value in row.items() if cells.get(name) is not None or name == "slave_address"}
        if row.get("id", before["id"]) != before["id"]:
            reason = f"unit {meter.unit_id} at {meter.address} is already meter {before['id']}, not {row['id']}"
            plan.issues.append(CsvIssue(line, reason))
            continue
        change = MeterChange(line, row, before)
        if not change.differences:
            plan.unchanged += 1
        elif how_to_update is None:
            plan.changes.append(change)
        else:
            plan.issues.append(
                CsvIssue(
                    line,
                    f"unit {meter.unit_id} at {meter.address} is already meter {before['id']}, with other values "
                    f"({', '.join(change.differences)}); to change it, {how_to_update}",
                )
            )
    _number(plan, database)
    plan.issues.sort(key=lambda issue: issue.line or 0)
    return plan


def _checked(
    lines: Sequence[tuple[int, Cells]],
    database: Database,
    can_install: Callable[[str], bool],
    explain_type: Callable[[str], str],
    issues: list[CsvIssue],
) -> list[tuple[int, Cells, EnergyMeter]]:
    """Return the lines that describe a valid meter; the issues of the others are added to `issues`."""
    known = {str(row["type"]).strip() for row in database.registers}
    named = {str(cells.get("type") or "").strip() for _, cells in lines}
    coming = {name for name in named - known if name and can_install(name)}
    rows = []
    by_line = dict(lines)
    for line, cells in lines:
        type_name = str(cells.get("type") or "").strip()
        if type_name and type_name not in known | coming:
            issues.append(CsvIssue(line, f"there is no type {type_name!r}{explain_type(type_name)}"))
            continue
        try:
            rows.append({"id": line, **columns_of(cells)})
        except InvalidValueError as err:
            issues.append(CsvIssue(line, str(err)))
    registers = [*database.registers, *({"type": name, **_ANY_REGISTER} for name in coming)]
    fleet = check_rows(rows, registers, database.types)
    for issue in fleet.issues:
        if issue.table == "energy_meters":
            column = {"slave_address": "unit"}.get(issue.column, issue.column)
            issues.append(CsvIssue(issue.meter_id, f"{column} {issue.reason}"))
    wrong = {issue.line for issue in issues}
    return [(meter.id, by_line[meter.id], meter) for meter in fleet.meters if meter.id not in wrong]


def _known_tariff(row: dict[str, Any], tariffs: Collection[str]) -> dict[str, Any]:
    """Return the row. Raise InvalidValueError if it names a tariff that does not exist."""
    name = row.get("tariff")
    if name is not None and name not in tariffs:
        raise InvalidValueError(unknown_tariff(name, tariffs))
    return row


def _number(plan: MeterImport, database: Database) -> None:
    """Give each new meter without an id the next one that no meter ever had; refuse ids that are or were in use."""
    taken = {id_ for row in database.meters if (id_ := id_of(row)) is not None}
    ever = {0, *taken, *database.used_ids}
    given: dict[int, int] = {}
    for change in list(plan.changes):
        id_ = change.row.get("id")
        if id_ is None or change.before is not None:
            continue
        reason = "already exists" if id_ in taken else "is the id of a former meter" if id_ in ever else None
        if id_ in given:
            reason = f"is already in line {given[id_]}"
        if reason:
            plan.issues.append(CsvIssue(change.line, f"id {id_} {reason}; leave the id empty for the next free one"))
            plan.changes.remove(change)
        given.setdefault(id_, change.line)
    following = max(ever | given.keys()) + 1
    for change in plan.added:
        if change.row.get("id") is None:
            change.row["id"] = following
            following += 1
