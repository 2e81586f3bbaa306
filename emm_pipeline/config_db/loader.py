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


_BLANKS = r" \t\n\r\f\v"
"""Characters around a type's name that do not belong to it, in a string of PostgreSQL."""

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
        used = None if all_types else {str(row["type"]).strip() for row in meters if row.get("enabled") is not False}
        too_large = _types_that_are_too_large(connection, used)
        registers = _registers_of(connection, used, too_large)
        has_types = connection.scalar(text("SELECT to_regclass('meter_types') IS NOT NULL"))
        types = rows_of(connection, "meter_types") if has_types else []
    fleet = check_rows(meters, registers, types)
    if not too_large:
        return fleet
    issues = [
        ConfigurationIssue(
            "registers",
            f"type {shown(name)}",
            "type",
            f"has {rows} rows, of which {MAX_REGISTERS_PER_TYPE} are allowed",
        )
        for name, rows in sorted(too_large.items())
    ]
    return replace(fleet, issues=(*issues, *fleet.issues))


def _types_that_are_too_large(connection: Connection, used: set[str] | None) -> dict[str, int]:
    """By name, how many rows the types have that are not loaded."""
    query = text(f"SELECT type, count(*) FROM registers {_where(used)} GROUP BY type HAVING count(*) > :most")  # noqa: S608
    found = connection.execute(query, {"used": list(used or ()), "most": MAX_REGISTERS_PER_TYPE})
    return {str(name): int(rows) for name, rows in found}


def _registers_of(connection: Connection, used: set[str] | None, but: Collection[str]) -> Sequence[Mapping[str, Any]]:
    query = f"SELECT * FROM (SELECT * FROM registers {_where(used)}) r WHERE type <> ALL(:but) OR type IS NULL"  # noqa: S608
    return _as_mappings(connection.execute(text(query), {"used": list(used or ()), "but": list(but)}))


def _where(used: set[str] | None) -> str:
    return "" if used is None else f"WHERE btrim(CAST(type AS text), E'{_BLANKS}') = ANY(:used)"


def rows_of(connection: Connection, table: str) -> Sequence[Mapping[str, Any]]:
    """All rows, with whatever columns there are: columns that came later may be absent."""
    return _as_mappings(connection.execute(text(f"SELECT * FROM {table}")))  # noqa: S608 - one of three names above


def _as_mappings(result: CursorResult[Any]) -> Sequence[Mapping[str, Any]]:
    columns = tuple(result.keys())
    return [dict(zip(columns, row, strict=True)) for row in result]
