"""Compare the CHECK constraints of a table: those of `tables` must hold, and others must not forbid allowed values."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import ARRAY, Boolean, CheckConstraint, Date, Integer, Text, Time, text
from sqlalchemy.exc import DBAPIError

from emm_pipeline.config_db.schema.differences import Difference, attempt, rows_with

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Column, Connection, Table

_CONDITIONS = text("""
    SELECT conname, pg_get_expr(conbin, conrelid), convalidated, (
        SELECT array_agg(attname::text) FROM pg_attribute WHERE attrelid = conrelid AND attnum = ANY(conkey)
    )
    FROM pg_constraint WHERE conrelid = to_regclass(:table) AND contype = 'c' ORDER BY conname
""")

_VALID_ROWS: dict[str, dict[str, Any]] = {
    "energy_meters": {"id": 1, "host": "meter", "port": 502, "slave_address": 1, "type": "t", "enabled": True},
    "registers": {
        "type": "t",
        "register_address": 0,
        "measurement_name": "voltage",
        "data_type": 1,
        "function_code": 3,
        "word_order": 2,
        "byte_order": 2,
        "scale": 1,
    },
    "meter_types": {"type": "t"},
    "combined_measurements": {"type": "t", "measurement_name": "gridPower", "part": "importPower", "factor": 1},
    "tariffs": {"name": "household", "valid_from": "2026-01-01", "price_per_kwh": 0.3},
}
"""A valid row of each table. It is tried with changed values, one column at a time, to find what a constraint forbids.
"""

_LONG = 255
_TRIED = {
    Integer: [None, *range(-1, 32), 255, 502, 32768, 65534, 65535],
    Text: [None, "", "a", "-", "W/m²", "fe80::1", "x" * _LONG],
    Boolean: [True, False],
    Date: [None, "2020-02-29", "2050-12-31"],
    Time: [None, "00:00", "22:00", "23:59:59"],
    ARRAY: [None, [], [65535, -0.5]],
}
_TRIED_NUMBERS = [None, -1000, -0.001, 0, 0.001, 1, 60, 1000000, 18446744073709551615]


class _Condition(NamedTuple):
    name: str
    expression: str
    is_validated: bool
    columns: list[str] | None


def compare_conditions(connection: Connection, table: Table) -> Iterator[Difference]:
    """Yield constraints that are missing or differ, and other constraints that forbid what `tables` allows."""
    wanted = {str(each.name): str(each.sqltext) for each in table.constraints if isinstance(each, CheckConstraint)}
    found = _conditions_of(connection, table.name)
    normal = _normal_forms(connection, table, wanted)
    for name, expression in sorted(wanted.items()):
        yield from _compare(connection, table, name, expression, normal.get(name), found.get(name))
    for condition in found.values():
        if condition.name not in wanted:
            yield from _compare_foreign(connection, table, condition, list(wanted.values()))


def _conditions_of(connection: Connection, table: str) -> dict[str, _Condition]:
    return {row[0]: _Condition(*row) for row in connection.execute(_CONDITIONS, {"table": table})}


def _normal_forms(connection: Connection, table: Table, wanted: dict[str, str]) -> dict[str, str]:
    """Return the wanted constraints as PostgreSQL writes them, which depends on the types of this table's columns."""
    temporary = f"emm_wanted_{table.name}"
    connection.exec_driver_sql(f"DROP TABLE IF EXISTS pg_temp.{temporary}")
    connection.exec_driver_sql(f"CREATE TEMPORARY TABLE {temporary} (LIKE {table.name}) ON COMMIT DROP")
    for name, expression in wanted.items():
        attempt(connection, f"ALTER TABLE pg_temp.{temporary} ADD CONSTRAINT {name} CHECK ({expression})")
    found = _conditions_of(connection, f"pg_temp.{temporary}")
    connection.exec_driver_sql(f"DROP TABLE pg_temp.{temporary}")
    return {name: condition.expression for name, condition in found.items()}


def _compare(  # noqa: PLR0913, PLR0917 - what is wanted, twice, and what is there
    connection: Connection, table: Table, name: str, expression: str, normal: str | None, found: _Condition | None
) -> Iterator[Difference]:
    """Compare a constraint of `tables` with the database's constraint of the same name."""
    try:
        rows = rows_with(connection, table, f"NOT ({expression})")
    except DBAPIError as err:
        yield Difference(f"{name} ({expression}) cannot be enforced: {' '.join(str(err.orig).split())}")
        return
    change, done = f"ALTER TABLE {table.name}", None
    statements: tuple[str, ...] = ()
    add = f"{change} ADD CONSTRAINT {name} CHECK ({expression}) NOT VALID"
    if found is None:
        what, statements = f"{name} ({expression}) is not enforced", (add,)
    elif found.expression != normal:
        what, statements = f"{name} is {found.expression}, not {expression}", (f"{change} DROP CONSTRAINT {name}", add)
        done = f"{name} was {found.expression}, and is {expression} now"
    elif not found.is_validated:
        what = f"{name} ({expression}) is enforced for new rows only"
    else:
        return
    if not rows:
        yield Difference(what, (*statements, f"{change} VALIDATE CONSTRAINT {name}"), done=done)
        return
    if statements:
        yield Difference(what, statements, done=done)
    yield Difference(f"{name} ({expression}) does not hold", rows=rows)


def _compare_foreign(
    connection: Connection, table: Table, condition: _Condition, wanted: list[str]
) -> Iterator[Difference]:
    """Compare a constraint that EMM does not know, on columns that EMM uses, with the values these may hold."""
    if not set(condition.columns or ()) <= set(table.columns.keys()):
        return
    allowed = " AND ".join(f"({each}) IS NOT FALSE" for each in wanted)
    query = text(f"""
        SELECT count(*) FROM jsonb_populate_recordset(NULL::{table.name}, CAST(:rows AS jsonb))
        WHERE {allowed} AND NOT ({condition.expression})
    """)  # noqa: S608 - the database's own expression
    try:
        with connection.begin_nested():
            forbidden = connection.scalar(query, {"rows": json.dumps(_tried_rows(table))})
    except DBAPIError as err:
        yield Difference(
            f"{condition.name} ({condition.expression}) cannot be examined: {' '.join(str(err.orig).split())}"
        )
        return
    if forbidden:
        what = f"{condition.name} ({condition.expression}) forbids what {table.name} may hold"
        drop = f"ALTER TABLE {table.name} DROP CONSTRAINT {_quoted(connection, condition.name)}"
        yield Difference(what, (drop,), done=f"{what}: dropped")


def _tried_rows(table: Table) -> list[dict[str, Any]]:
    valid = _VALID_ROWS[table.name]
    return [valid | {column.name: value} for column in table.columns for value in _tried(column)]


def _tried(column: Column[Any]) -> list[Any]:
    return next((values for kind, values in _TRIED.items() if isinstance(column.type, kind)), _TRIED_NUMBERS)


def _quoted(connection: Connection, name: str) -> str:
    return connection.dialect.identifier_preparer.quote_identifier(name)
