"""Compare the columns and keys of a table: a column must be able to hold every value that `tables` allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint, Integer, text

from emm_pipeline.config_db.schema.differences import Difference, rows_with

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Column, Connection, Table

_AS_WIDE = {"integer": {"bigint"}, "text": {"character varying"}, "double precision": {"numeric"}}
"""For each type, the PostgreSQL types (without length or precision) that can hold all its values too."""

_INTEGER = r"^\s*[+-]?\d{1,9}(\.0*)?\s*$"
"""Regular expression (SQL) for texts and decimals that are exactly an integer, within its range."""

_COLUMNS = text("""
    SELECT attname, format_type(atttypid, atttypmod), attnotnull
    FROM pg_attribute
    WHERE attrelid = to_regclass(:table) AND attnum > 0 AND NOT attisdropped
""")

_HAS_KEY = text("""
    SELECT 1 FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
    WHERE indrelid = to_regclass(:table) AND indisunique AND indnkeyatts = 1 AND indpred IS NULL AND attname = :key
""")


def compare_columns(connection: Connection, table: Table) -> Iterator[Difference]:
    """Yield the columns that are missing, and those that cannot hold all allowed values."""
    found = {name: (type_, not_null) for name, type_, not_null in connection.execute(_COLUMNS, {"table": table.name})}
    if not found:
        yield Difference(f"table {table.name} is missing: it was removed after an upgrade")
        return
    for column in table.columns:
        if column.name not in found:
            yield Difference(f"{table.name}.{column.name} is missing: it was removed after an upgrade")
            continue
        type_, not_null = found[column.name]
        yield from _compare_type(connection, table, column, type_)
        yield from _compare_nullability(connection, table, column, not_null=not_null)


def _compare_type(connection: Connection, table: Table, column: Column[object], found: str) -> Iterator[Difference]:
    place = f"{table.name}.{column.name}"
    wanted = column.type.compile(dialect=connection.dialect).lower()
    if found == wanted or found in _AS_WIDE.get(wanted, ()):
        return
    changed = f"ALTER TABLE {table.name} ALTER COLUMN {column.name} TYPE {wanted}"
    rows = ""
    if isinstance(column.type, Integer):
        rows = rows_with(connection, table, f"{column.name}::text !~ '{_INTEGER}'")
        using = f"trunc(btrim({column.name}::text)::numeric)::{wanted}"
    elif found == "inet":
        using = f"host({column.name})"  # the text of an inet value ends with the length of the network
    else:
        using = f"{column.name}::text::{wanted}"
    what = f"{place} is {found}, not {wanted}" + (", and holds other values" if rows else "")
    yield Difference(what, (f"{changed} USING {using}",), rows, done=f"{place} was {found}, and is {wanted} now")


def _compare_nullability(
    connection: Connection, table: Table, column: Column[object], *, not_null: bool
) -> Iterator[Difference]:
    place, change = f"{table.name}.{column.name}", f"ALTER TABLE {table.name} ALTER COLUMN {column.name}"
    if not_null and may_be_null(table, column):
        done = f"{place} was NOT NULL, and may be null now"
        yield Difference(f"{place} is NOT NULL, though it may be null", (f"{change} DROP NOT NULL",), done=done)
    elif not not_null and not column.nullable and not column.primary_key:
        rows = rows_with(connection, table, f"{column.name} IS NULL")
        done = f"{place} could be null, and is NOT NULL now"
        yield Difference(f"{place} can be null", (f"{change} SET NOT NULL",), rows, done=done)


def may_be_null(table: Table, column: Column[object]) -> bool:
    """Whether the column may be null: neither the column nor a constraint of the table forbids it."""
    required = f"{column.name} IS NOT NULL AND"
    conditions = [f"{each.sqltext} AND" for each in table.constraints if isinstance(each, CheckConstraint)]
    return bool(column.nullable) and not any(condition.startswith(required) for condition in conditions)


def compare_key(connection: Connection, table: Table) -> Iterator[Difference]:
    """Yield the primary key if it is neither a primary nor a unique key of the table, which may have another one."""
    if not table.primary_key.columns:
        return
    (key,) = (column.name for column in table.primary_key.columns)
    if connection.scalar(_HAS_KEY, {"table": table.name, "key": key}):
        return
    twice = f"{key} IN (SELECT {key} FROM {table.name} GROUP BY {key} HAVING count(*) > 1)"  # noqa: S608 - our own
    rows = rows_with(connection, table, f"{key} IS NULL OR {twice}")
    kind = "UNIQUE" if connection.scalar(_HAS_PRIMARY_KEY, {"table": table.name}) else "PRIMARY KEY"
    text_ = f"{table.name} has no key on {key}" + (": null or not unique" if rows else "")
    yield Difference(text_, (f"ALTER TABLE {table.name} ADD {kind} ({key})",), rows)


_HAS_PRIMARY_KEY = text("SELECT 1 FROM pg_index WHERE indrelid = to_regclass(:table) AND indisprimary")
