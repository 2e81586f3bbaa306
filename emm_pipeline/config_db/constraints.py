"""Keys, checks and column types of old tables: applied as far as the rows allow, and the rest told to a person.

The two first tables may have been made by hand, with other column types, without keys, and with rows that make
no sense. None is lost: a check is added NOT VALID, so that it binds what is written from now on, and is
validated once all rows comply. That may be only after a person has corrected some, so this runs at each upgrade.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint, Integer, Table, Text, text
from sqlalchemy.exc import DBAPIError

from emm_pipeline.config_db.tables import energy_meters, meter_types, registers

if TYPE_CHECKING:
    from sqlalchemy import Connection

_NAMES = {
    "energy_meters": "'id ' || coalesce(id::text, 'null')",
    "registers": "concat_ws(' ', type, register_address, measurement_name)",
    "meter_types": "type::text",
}
"""How a row is named to a person, by table (SQL)."""

_SHOWN = 5

_INTEGER = r"^\s*[+-]?\d{1,9}(\.0*)?\s*$"
"""Texts and decimals that are an integer exactly, and fit (regular expression)."""


def tighten(connection: Connection) -> list[str]:
    """Bring column types, keys and checks of the tables that people write to what `tables` says, where possible.

    Returns:
        What is still in the way, a line each: table, column or constraint, and the first rows at fault.
    """
    notes = []
    for table in (energy_meters, registers, meter_types):
        notes += _convert_columns(connection, table)
        notes += _add_key(connection, table)
        notes += _add_checks(connection, table)
    return notes


def _convert_columns(connection: Connection, table: Table) -> list[str]:
    """Convert texts and decimals to integers where all are whole, and `character(n)`, which pads, to text."""
    query = text("SELECT attname, atttypid::regtype::text FROM pg_attribute WHERE attrelid = to_regclass(:table)")
    types: dict[str, str] = dict(iter(connection.execute(query, {"table": table.name})))
    notes = []
    for column in table.columns:
        name, found = column.name, types.get(column.name)
        place = f"{table.name}.{name}"
        if found is None:
            notes.append(f"{place} is missing: add it, and upgrade again")
        elif isinstance(column.type, Integer) and found not in {"integer", "bigint"}:
            if rows := _rows(connection, table, f"{name}::text !~ '{_INTEGER}'"):
                notes.append(f"{place} stays {found}: no integer in {rows}; correct it, and upgrade again")
            else:
                change = f"integer USING trunc(btrim({name}::text)::numeric)::integer"
                notes += _convert(connection, table, name, change)
        elif isinstance(column.type, Text) and found == "character":
            notes += _convert(connection, table, name, f"text USING {name}::text")
    return notes


def _convert(connection: Connection, table: Table, column: str, change: str) -> list[str]:
    reason = _attempt(connection, f"ALTER TABLE {table.name} ALTER COLUMN {column} TYPE {change}")
    return [f"{table.name}.{column} keeps its type: {reason}"] if reason else []


def _add_key(connection: Connection, table: Table) -> list[str]:
    """Add the primary key; a unique one where the table has another primary key already."""
    if not table.primary_key.columns:
        return []
    (key,) = (column.name for column in table.primary_key.columns)
    has_key = text(
        "SELECT 1 FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]"
        " WHERE indrelid = to_regclass(:table) AND indisunique AND indnkeyatts = 1 AND indpred IS NULL"
        " AND attname = :key"
    )
    if connection.scalar(has_key, {"table": table.name, "key": key}):
        return []
    twice = f"{key} IN (SELECT {key} FROM {table.name} GROUP BY {key} HAVING count(*) > 1)"  # noqa: S608 - our own
    if rows := _rows(connection, table, f"{key} IS NULL OR {twice}"):
        return [f"{table.name} gets no key on {key}: null or not unique in {rows}; correct it, and upgrade again"]
    add = f"ALTER TABLE {table.name} ADD"
    reason = _attempt(connection, f"{add} PRIMARY KEY ({key})") and _attempt(connection, f"{add} UNIQUE ({key})")
    return [f"{table.name} gets no key on {key}: {reason}"] if reason else []


def _add_checks(connection: Connection, table: Table) -> list[str]:
    query = text("SELECT conname, convalidated FROM pg_constraint WHERE conrelid = to_regclass(:table)")
    validated: dict[str, bool] = dict(iter(connection.execute(query, {"table": table.name})))
    checks = sorted((c for c in table.constraints if isinstance(c, CheckConstraint)), key=lambda c: str(c.name))
    notes = []
    for check in checks:
        name, condition = str(check.name), str(check.sqltext)
        change = f"ALTER TABLE {table.name} ADD CONSTRAINT {name} CHECK ({condition}) NOT VALID"
        if name not in validated and (reason := _attempt(connection, change)):
            notes.append(f"{name} is not enforced: {reason}")
        elif not validated.get(name, False):
            if rows := _rows(connection, table, f"NOT ({condition})"):
                notes.append(f"{name} ({condition}) does not hold in {rows}; correct it, and upgrade again")
            elif reason := _attempt(connection, f"ALTER TABLE {table.name} VALIDATE CONSTRAINT {name}"):
                notes.append(f"{name} is enforced for new rows only: {reason}")
    return notes


def _attempt(connection: Connection, statement: str) -> str | None:
    """Execute a statement that may fail without harm to the rest; why it failed, or None."""
    try:
        with connection.begin_nested():
            connection.execute(text(statement))
    except DBAPIError as err:
        return " ".join(str(err.orig).split())
    return None


def _rows(connection: Connection, table: Table, condition: str) -> str:
    """The rows that meet a condition, as `3 rows (id 5, id 7, ...)`; empty when there is none."""
    name = _NAMES[table.name]
    query = f"SELECT {name}, count(*) OVER () FROM {table.name} WHERE {condition} LIMIT {_SHOWN}"  # noqa: S608 - our own SQL
    found = connection.execute(text(query)).all()
    if not found:
        return ""
    count = found[0][1]
    names = ", ".join(str(row[0]) for row in found) + (", ..." if count > len(found) else "")
    return f"{count} row{'s' if count > 1 else ''} ({names})"
