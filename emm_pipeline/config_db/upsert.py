"""Insert or update many rows in one statement.

Rows are sent as one array per column (`unnest`). This takes a third of the time of an `INSERT` with a tuple per row
(2500 rows: 100 ms instead of 316 ms).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, cast, func, select
from sqlalchemy.dialects.postgresql import ARRAY, insert

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection, Table
    from sqlalchemy.dialects.postgresql import Insert


def upsert(connection: Connection, table: Table, rows: Iterable[Mapping[str, Any]], **constants: Any) -> None:
    """Insert rows; if a row with the same key exists, update the given columns and no others.

    Args:
        connection: A connection in a transaction.
        table: The table, which has a primary key.
        rows: Mappings from column to value, all with the same columns. Of two rows with the same key, the last is used.
            They are written in the order of their keys, so that two sessions take the row locks in the same order.
        constants: Values of further columns, for existing rows that are updated.
    """
    keys = [column.name for column in table.primary_key.columns]
    last = {tuple(row[key] for key in keys): row for row in rows}
    ordered = [last[key] for key in sorted(last)]
    if not ordered:
        return
    names = tuple(ordered[0])
    statement = _statement(table, names, tuple(keys), tuple(sorted(constants.items())))
    connection.execute(statement, {name: [row[name] for row in ordered] for name in names})


@cache
def _statement(table: Table, names: Sequence[str], keys: Sequence[str], constants: Sequence[tuple[str, Any]]) -> Insert:
    arrays = [cast(bindparam(name), ARRAY(table.c[name].type)) for name in names]
    rows = func.unnest(*arrays).table_valued(*names).render_derived(name="batch")
    statement = insert(table).from_select(list(names), select(*(rows.c[name] for name in names)))
    changes: dict[str, Any] = {name: statement.excluded[name] for name in names if name not in keys}
    return statement.on_conflict_do_update(index_elements=list(keys), set_=changes | dict(constants))
