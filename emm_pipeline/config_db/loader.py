"""The fleet, as the configuration database has it now."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from emm_pipeline.config_db.engine import database_errors
from emm_pipeline.config_db.validation import check_rows
from emm_pipeline.config_db.values import shown
from emm_pipeline.fleet import ConfigurationIssue

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy import Connection, CursorResult, Engine

    from emm_pipeline.fleet import Fleet


_SIZES = text("SELECT CAST(type AS text), count(*) FROM registers GROUP BY 1")

MAX_REGISTERS_PER_TYPE = 10_000
"""A type with more rows is not loaded: no device has so many, and each poll would carry them in memory."""


def load_fleet(engine: Engine, *, all_types: bool = False) -> Fleet:
    """Read and check the configuration, all of it as of one moment.

    A database that has only the two first tables, never upgraded, is read as well.

    Args:
        engine: of the configuration database.
        all_types: read the registers of types that no enabled meter has, too.

    Raises:
        ConfigDatabaseError: The database cannot be read. Never an empty fleet instead: callers remove what is
            not in it.
    """
    with database_errors(engine), engine.connect() as connection:
        connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        meters = rows_of(connection, "energy_meters")
        used = {_name(row["type"]) for row in meters if row.get("enabled") is not False}
        sizes = {
            name: count
            for name, count in connection.execute(_SIZES).tuples()
            if all_types or name is None or _name(name) in used
        }
        too_large = {name: count for name, count in sizes.items() if count > MAX_REGISTERS_PER_TYPE}
        registers = _registers_of(connection, sizes.keys() - too_large.keys())
        types = _rows_if_there(connection, "meter_types")
        loaded = {_name(name) for name in sizes.keys() - too_large.keys()}
        combined = [row for row in _rows_if_there(connection, "combined_measurements") if _name(row["type"]) in loaded]
    fleet = check_rows(meters, registers, types, combined)
    if not too_large:
        return fleet
    issues = [
        ConfigurationIssue(
            "registers",
            f"type {shown(name)}",
            "type",
            f"has {rows} rows, of which {MAX_REGISTERS_PER_TYPE} are allowed",
        )
        for name, rows in sorted(too_large.items(), key=str)
    ]
    return replace(fleet, issues=(*issues, *fleet.issues))


def _rows_if_there(connection: Connection, table: str) -> Sequence[Mapping[str, Any]]:
    """The rows of a table that a database without any upgrade does not have."""
    there = connection.scalar(text("SELECT to_regclass(:table) IS NOT NULL"), {"table": table})
    return rows_of(connection, table) if there else []


def _registers_of(connection: Connection, types: Collection[str | None]) -> Sequence[Mapping[str, Any]]:
    """The rows of these types; None among them is that of rows without a type, which are reported."""
    query = "SELECT * FROM registers WHERE CAST(type AS text) = ANY(:types) OR (:without AND type IS NULL)"
    types_given = [name for name in types if name is not None]
    return _as_mappings(connection.execute(text(query), {"types": types_given, "without": None in types}))


def _name(type_name: object) -> str:
    """A type as it is compared: spaces around it, in Unicode's sense, do not count."""
    return str(type_name).strip()


def rows_of(connection: Connection, table: str) -> Sequence[Mapping[str, Any]]:
    """All rows, with whatever columns there are: columns that came later may be absent."""
    return _as_mappings(connection.execute(text(f"SELECT * FROM {table}")))  # noqa: S608 - one of a few names of our own


def _as_mappings(result: CursorResult[Any]) -> Sequence[Mapping[str, Any]]:
    columns = tuple(result.keys())
    return [dict(zip(columns, row, strict=True)) for row in result]
