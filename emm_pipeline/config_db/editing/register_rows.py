"""Rows of `registers` and `meter_types` as people and the catalogue write them: many at once, all or nothing.

Two rows are the same where they give the same series: type, measurement name, unit and model.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, text

from emm_pipeline.config_db.engine import database_errors
from emm_pipeline.config_db.loader import rows_of
from emm_pipeline.config_db.tables import meter_types, registers

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from sqlalchemy import Connection, Engine

    from emm_pipeline.fleet import MeterType, Register

REGISTER_COLUMNS = tuple(column.name for column in registers.columns)
"""In the table's order: the first eight are SPEC's."""

SETTING_COLUMNS = tuple(column.name for column in meter_types.columns)[1:]
"""How a type wants to be asked: the columns of `meter_types` behind its name."""

Series = tuple[str, str, str, int | None]
"""Type, measurement name, unit, and model."""

RegisterRow = tuple[Any, ...]
"""Values in the order of REGISTER_COLUMNS, comparable: numbers exact, whole ones int, an absent scale 1."""


@dataclass(frozen=True, slots=True)
class TypeRows:
    """What the database has of a type: its registers, and its row of `meter_types` (None where it has none)."""

    registers: frozenset[RegisterRow] = frozenset()
    settings: tuple[Any, ...] | None = None


def register_row(type_name: str, register: Register) -> RegisterRow:
    """Return the row of a register of the fleet."""
    values = {name: getattr(register, name) for name in REGISTER_COLUMNS[1:]}
    return comparable({"type": type_name, **values})


def settings_row(meter_type: MeterType, default: MeterType) -> tuple[Any, ...] | None:
    """Return the row of `meter_types` that says what differs from the default; None where nothing does."""
    values = [(getattr(meter_type, name), getattr(default, name)) for name in SETTING_COLUMNS]
    row = tuple(value if value != usual else None for value, usual in values)
    return row if any(value is not None for value in row) else None


def comparable(row: Mapping[str, Any]) -> RegisterRow:
    """Return a row of the table, whatever columns it has, so that equal ones are equal."""
    values = dict(row)
    if values.get("scale") is None:
        values["scale"] = 1
    return tuple(_number(values.get(name)) for name in REGISTER_COLUMNS)


def series_of(row: RegisterRow) -> Series:
    """Return what makes two rows the same."""
    type_name, _, name, unit = row[:4]
    return str(type_name), str(name), str(unit or ""), row[_MODEL]


def place_of(row: RegisterRow) -> tuple[str, str, int, str]:
    """Return by what rows are sorted for people: type, function code, address."""
    address = row[1] if isinstance(row[1], int) else -1
    return str(row[0]), str(row[5]), address, str(row)


def load_type_rows(connection: Connection) -> dict[str, TypeRows]:
    """Return what the database has, by type; rows that make no sense too."""
    found: dict[str, set[RegisterRow]] = {}
    for row in rows_of(connection, "registers"):
        found.setdefault(str(row["type"]), set()).add(comparable(row))
    settings = {
        str(row["type"]): tuple(_number(row[name]) for name in SETTING_COLUMNS)
        for row in rows_of(connection, "meter_types")
    }
    return {name: TypeRows(frozenset(found.get(name, ())), settings.get(name)) for name in sorted({*found, *settings})}


def load_types_of(engine: Engine) -> dict[str, TypeRows]:
    """Return what the database has, by type.

    Raises:
        ConfigDatabaseError: It cannot be read.
    """
    with database_errors(engine), engine.connect() as connection:
        return load_type_rows(connection)


@contextmanager
def editing_registers(engine: Engine) -> Iterator[Connection]:
    """A transaction in which nobody else changes registers or types; others may read them.

    Raises:
        ConfigDatabaseError: The database cannot be reached, or refuses a row. Nothing was written then.
    """
    with database_errors(engine), engine.begin() as connection:
        connection.execute(text("LOCK TABLE registers, meter_types IN SHARE ROW EXCLUSIVE MODE"))
        yield connection


def write_registers(connection: Connection, remove: Collection[RegisterRow], add: Sequence[RegisterRow]) -> None:
    """Delete rows and insert others.

    Rows are deleted by their place in the table: columns made by hand compare in SQL as nobody can foresee. Nobody
    else may change the table meanwhile.
    """
    if remove:
        going = set(remove)
        found = connection.execute(text("SELECT ctid::text AS emm_place, * FROM registers")).mappings()
        places = [row["emm_place"] for row in found if comparable(dict(row)) in going]
        connection.execute(text("DELETE FROM registers WHERE ctid = ANY(CAST(:places AS tid[]))"), {"places": places})
    if add:
        connection.execute(insert(registers), [dict(zip(REGISTER_COLUMNS, row, strict=True)) for row in add])


def write_settings(connection: Connection, type_name: str, settings: tuple[Any, ...] | None) -> None:
    """Put a type's row of `meter_types` in the place of the one that is there."""
    connection.execute(delete(meter_types).where(meter_types.c.type == type_name))
    if settings is not None:
        values = dict(zip(SETTING_COLUMNS, settings, strict=True))
        connection.execute(insert(meter_types), {"type": type_name, **values})


_BEYOND_INTEGERS = 2**64
_MODEL = REGISTER_COLUMNS.index("model")


def _number(value: Any) -> Any:
    """A whole number as int (an IntEnum too), any other as float; what is no number as it is."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return value
    number: Any = value
    if number != number:  # noqa: PLR0124 - how NaN is known, a decimal's too
        return math.nan  # always the same one, so that rows with it are equal
    # As `values.raw_value` does: a float beyond 64 bits is not written with all its digits.
    return int(number) if abs(number) < _BEYOND_INTEGERS and int(number) == number else float(number)
