"""Read and write types: their registers, sums and settings, and what was installed, all rows or none."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, insert, select, text
from sqlalchemy.dialects.postgresql import insert as upsert

from emm_pipeline.config_db.editing.register_rows import (
    COMBINED_COLUMNS,
    REGISTER_COLUMNS,
    SETTING_COLUMNS,
    TypeRows,
    comparable,
    comparable_combined,
    comparable_number,
)
from emm_pipeline.config_db.engine import database_errors
from emm_pipeline.config_db.loader import rows_of
from emm_pipeline.config_db.tables import combined_measurements, installed_types, meter_types, registers

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from sqlalchemy import Connection, Engine

    from emm_pipeline.config_db.editing.register_rows import CombinedRow, RegisterRow


def load_type_rows(connection: Connection) -> dict[str, TypeRows]:
    """Return the rows in the database by type, including those with configuration issues."""
    found: dict[str, set[RegisterRow]] = {}
    for row in rows_of(connection, "registers"):
        found.setdefault(str(row["type"]).strip(), set()).add(comparable(row))
    settings = {
        str(row["type"]).strip(): tuple(comparable_number(row.get(name)) for name in SETTING_COLUMNS)
        for row in rows_of(connection, "meter_types")
    }
    sums: dict[str, set[CombinedRow]] = {}
    for row in rows_of(connection, "combined_measurements"):
        sums.setdefault(str(row["type"]).strip(), set()).add(comparable_combined(row))
    return {
        name: TypeRows(frozenset(found.get(name, ())), settings.get(name), frozenset(sums.get(name, ())))
        for name in sorted({*found, *settings, *sums})
    }


def load_types_of(engine: Engine) -> dict[str, TypeRows]:
    """Return the rows in the database by type, in a transaction of its own.

    Raises:
        ConfigDatabaseError: The database cannot be read.
    """
    with database_errors(engine), engine.connect() as connection:
        return load_type_rows(connection)


@contextmanager
def editing_registers(engine: Engine) -> Iterator[Connection]:
    """Open a transaction in which no other session can change registers or types; other sessions can read them.

    Raises:
        ConfigDatabaseError: The database cannot be reached, or rejects a row. Nothing was written.
    """
    with database_errors(engine), engine.begin() as connection:
        connection.execute(text("LOCK TABLE registers, meter_types, combined_measurements IN SHARE ROW EXCLUSIVE MODE"))
        yield connection


def write_registers(connection: Connection, remove: Collection[RegisterRow], add: Sequence[RegisterRow]) -> None:
    """Delete rows and insert others, within `editing_registers`.

    Rows are deleted by their physical location (`ctid`), because the columns of a table that a person created may have
    other types, which compare differently in SQL than in Python.
    """
    if remove:
        going = set(remove)
        found = connection.execute(text("SELECT ctid::text AS emm_place, * FROM registers")).mappings()
        places = [row["emm_place"] for row in found if comparable(dict(row)) in going]
        connection.execute(text("DELETE FROM registers WHERE ctid = ANY(CAST(:places AS tid[]))"), {"places": places})
    if add:
        connection.execute(insert(registers), [_register_columns(row) for row in add])


def _register_columns(row: RegisterRow) -> dict[str, Any]:
    columns = dict(zip(REGISTER_COLUMNS, row, strict=True))
    return columns | {"invalid_values": list(columns["invalid_values"]) or None}


def write_combined(connection: Connection, remove: Collection[CombinedRow], add: Sequence[CombinedRow]) -> None:
    """Delete rows of `combined_measurements` and insert others, within `editing_registers`."""
    if remove:
        going = set(remove)
        found = connection.execute(text("SELECT ctid::text AS emm_place, * FROM combined_measurements")).mappings()
        places = [row["emm_place"] for row in found if comparable_combined(dict(row)) in going]
        statement = text("DELETE FROM combined_measurements WHERE ctid = ANY(CAST(:places AS tid[]))")
        connection.execute(statement, {"places": places})
    if add:
        rows = [dict(zip(COMBINED_COLUMNS, row, strict=True)) for row in add]
        connection.execute(insert(combined_measurements), rows)


def write_settings(connection: Connection, type_name: str, settings: tuple[Any, ...] | None) -> None:
    """Replace a type's row of `meter_types`."""
    connection.execute(delete(meter_types).where(func.trim(meter_types.c.type) == type_name))
    if settings is not None:
        values = dict(zip(SETTING_COLUMNS, settings, strict=True))
        connection.execute(insert(meter_types), {"type": type_name, **values})


def load_installed(connection: Connection) -> dict[str, TypeRows]:
    """Return the rows that the last `emm types install` wrote, by type."""
    rows = connection.execute(select(installed_types.c.type, installed_types.c.content))
    return {row.type: _parse(row.content) for row in rows}


def save_installed(connection: Connection, type_name: str, rows: TypeRows) -> None:
    """Record the rows that an installation has written."""
    content = json.dumps(
        {
            "registers": sorted(map(list, rows.registers), key=str),
            "settings": rows.settings,
            "combined": sorted(map(list, rows.combined), key=str),
        }
    )
    row = {"type": type_name, "content": content, "installed_at": func.now()}
    statement = upsert(installed_types).values(row)
    connection.execute(statement.on_conflict_do_update(index_elements=["type"], set_=row))


def _parse(content: str) -> TypeRows:
    """Return the saved rows. A version of EMM that had fewer columns wrote shorter rows."""
    data = json.loads(content)
    registers = (comparable(dict(zip(REGISTER_COLUMNS, row, strict=False))) for row in data["registers"])
    combined = (comparable_combined(dict(zip(COMBINED_COLUMNS, row, strict=True))) for row in data.get("combined", ()))
    settings = data["settings"]
    if settings is not None:
        settings = (*settings, *[None] * (len(SETTING_COLUMNS) - len(settings)))
    return TypeRows(frozenset(registers), settings, frozenset(combined))
