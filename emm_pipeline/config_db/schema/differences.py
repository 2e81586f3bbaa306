"""A difference between a table of the database and `tables`, with the statements that correct it."""

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
    "tariffs": "concat_ws(' ', name, valid_from, weekdays, from_time)",
}
"""SQL expression that names a row for a person, by table."""

_ROWS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference of the database, with its correction.

    `statements` correct it, one after the other; each may fail. Without statements, or with `rows` that prevent the
    correction, a person has to act. `done` is the message about the change, if a person should know it.
    """

    text: str
    statements: tuple[str, ...] = ()
    rows: str = ""
    done: str | None = None

    def __str__(self) -> str:
        return f"{self.text} in {self.rows}: correct it, and upgrade again" if self.rows else self.text

    def repaired(self, connection: Connection) -> list[str]:
        """Execute the statements; return the message for a person, at most one line."""
        if self.rows or not self.statements:
            return [str(self)]
        for statement in self.statements:
            if reason := attempt(connection, statement):
                return [f"{self.text}, which could not be changed: {reason}"]
        return [self.done] if self.done else []


def attempt(connection: Connection, statement: str) -> str | None:
    """Execute a statement that may fail without aborting the transaction; return the reason if it failed."""
    try:
        with connection.begin_nested():
            connection.exec_driver_sql(statement)
    except DBAPIError as err:
        return " ".join(str(err.orig).split())
    return None


def rows_with(connection: Connection, table: Table, condition: str) -> str:
    """Return the rows that meet a condition, such as `3 rows (id 5, id 7, …)`; an empty text if there is none.

    Raises:
        DBAPIError: The condition cannot be evaluated because a column has another type. The transaction continues.
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
