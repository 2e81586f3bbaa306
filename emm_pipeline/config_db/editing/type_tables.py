"""Read and write types in the tables `registers`, `meter_types` and `installed_types`, all rows or none."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, insert, select, text
from sqlalchemy.dialects.postgresql import insert as upsert

from emm_pipeline.config_db.editing.register_rows import (
    REGISTER_COLUMNS,
    SETTING_COLUMNS,
    TypeRows,
    comparable,
    comparable_number,
)
from emm_pipeline.config_db.engine import database_errors
from emm_pipeline.config_db.loader import rows_of
from emm_pipeline.config_db.tables import installed_types, meter_types, registers

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from sqlalchemy import Connection, Engine

    from emm_pipeline.config_db.editing.register_rows import RegisterRow


def load_type_rows(connection: Connection) -> dict[str, TypeRows]:
    """Return the rows in the database by type, including those with configuration issues."""
    found: dict[str, set[RegisterRow]] = {}
    for row in rows_of(connection, "registers"):
        found.setdefault(str(row["type"]).strip(), set()).add(comparable(row))
    settings = {
        str(row["type"]).strip(): tuple(comparable_number(row.get(name)) for name in SETTING_COLUMNS)
        for row in rows_of(connection, "meter_types")
    }
    return {name: TypeRows(frozenset(found.get(name, ())), settings.get(name)) for name in sorted({*found, *settings})}


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
        connection.execute(text("LOCK TABLE registers, meter_types IN SHARE ROW EXCLUSIVE MODE"))
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
        connection.execute(insert(registers), [dict(zip(REGISTER_COLUMNS, row, strict=True)) for row in add])


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
    content = json.dumps({"registers": sorted(map(list, rows.registers), key=str), "settings": rows.settings})
    row = {"type": type_name, "content": content, "installed_at": func.now()}
    statement = upsert(installed_types).values(row)
    connection.execute(statement.on_conflict_do_update(index_elements=["type"], set_=row))


def _parse(content: str) -> TypeRows:
    data = json.loads(content)
    settings = data["settings"]
    # An older version of EMM with fewer columns wrote shorter rows: the missing columns are null.
    registers = (tuple(row) + (None,) * (len(REGISTER_COLUMNS) - len(row)) for row in data["registers"])
    if settings is not None:
        settings = (*settings, *[None] * (len(SETTING_COLUMNS) - len(settings)))
    return TypeRows(frozenset(registers), settings)
