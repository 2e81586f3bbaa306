"""A difference between a table of the database and `tables`: what it is, and what makes it right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

_ROW_NAMES = {
    "energy_meters": "'id ' || coalesce(id::text, 'null')",
    "registers": "concat_ws(' ', type, register_address, measurement_name)",
    "meter_types": "type::text",
    "combined_measurements": "concat_ws(' ', type, measurement_name, part)",
}
"""How a row is named to a person, by table (SQL)."""

_ROWS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the database differs, and how.

    `statements` make it right, one after the other; each may fail. Without any, or with `rows` that are in the way, a
    person has to act. `done` says what was changed, where a person wants to know it.
    """

    text: str
    statements: tuple[str, ...] = ()
    rows: str = ""
    done: str | None = None

    def __str__(self) -> str:
        return f"{self.text} in {self.rows}: correct it, and upgrade again" if self.rows else self.text

    def repaired(self, connection: Connection) -> list[str]:
        """Execute the statements; returns what there is to say, at most one line."""
        if self.rows or not self.statements:
            return [str(self)]
        for statement in self.statements:
            if reason := attempt(connection, statement):
                return [f"{self.text}, and cannot be changed: {reason}"]
        return [self.done] if self.done else []


def attempt(connection: Connection, statement: str) -> str | None:
    """Execute a statement that may fail without harm to the transaction; why it failed, or None."""
    try:
        with connection.begin_nested():
            connection.exec_driver_sql(statement)
    except DBAPIError as err:
        return " ".join(str(err.orig).split())
    return None


def rows_with(connection: Connection, table: Table, condition: str) -> str:
    """Name the rows that meet a condition, as `3 rows (id 5, id 7, …)`; empty when there is none.

    Raises:
        DBAPIError: The condition cannot be evaluated, for a column of another type. The transaction goes on.
    """
    name = _ROW_NAMES[table.name]
    query = f"SELECT {name}, count(*) OVER () FROM {table.name} WHERE {condition} LIMIT {_ROWS_SHOWN}"  # noqa: S608 - our own SQL
    with connection.begin_nested():
        found = connection.execute(text(query)).all()
    if not found:
        return ""
    count = found[0][1]
    names = ", ".join(str(row[0]) for row in found) + (", …" if count > len(found) else "")
    return f"{count} row{'s' if count > 1 else ''} ({names})"
