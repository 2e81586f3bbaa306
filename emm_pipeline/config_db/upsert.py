"""Insert or update many rows in one statement.

Rows are sent as one array per column (`unnest`), or as one value if all rows have the same. This takes a third of the
time of an `INSERT` with a tuple per row (2500 rows: 100 ms instead of 316 ms).
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
    columns: dict[str, Any] = {name: [row[name] for row in ordered] for name in ordered[0]}
    # Most meters have the same values in most columns: these are sent once.
    equal = tuple(
        name for name, values in columns.items() if name not in keys and values.count(values[0]) == len(values)
    )
    statement = _statement(table, tuple(columns), equal, tuple(keys), tuple(sorted(constants.items())))
    connection.execute(statement, columns | {name: columns[name][0] for name in equal})


@cache
def _statement(
    table: Table, names: Sequence[str], equal: Sequence[str], keys: Sequence[str], constants: Sequence[tuple[str, Any]]
) -> Insert:
    different = [name for name in names if name not in equal]
    arrays = [cast(bindparam(name), ARRAY(table.c[name].type)) for name in different]
    rows = func.unnest(*arrays).table_valued(*different).render_derived(name="batch")
    values = [cast(bindparam(name), table.c[name].type) if name in equal else rows.c[name] for name in names]
    statement = insert(table).from_select(list(names), select(*values))
    changes: dict[str, Any] = {name: statement.excluded[name] for name in names if name not in keys}
    return statement.on_conflict_do_update(index_elements=list(keys), set_=changes | dict(constants))
