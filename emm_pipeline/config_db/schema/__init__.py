"""Compare the tables of a database with `tables`, and correct the differences as far as the rows allow.

The first two tables may have been created by a person or an older program, with narrower columns, without keys, with
other CHECK constraints, and with invalid rows. No row is lost: a constraint is added as NOT VALID, so that it applies
to new rows, and is validated once all rows comply. Since a person may have to correct some rows first, this is
repeated at each upgrade.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emm_pipeline.config_db.schema.columns import compare_columns, compare_key
from emm_pipeline.config_db.schema.conditions import compare_conditions
from emm_pipeline.config_db.tables import (
    combined_measurements,
    energy_meters,
    metadata,
    meter_types,
    registers,
    tariffs,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection, Table

    from emm_pipeline.config_db.schema.differences import Difference

EDITED_TABLES = (energy_meters, registers, meter_types, combined_measurements, tariffs)
"""The tables that people write. The pipeline's own tables are created by the migrations, and only compared."""


def differences(connection: Connection, further: Iterable[Table] = ()) -> list[Difference]:
    """Return the differences from `tables`: columns, types, lengths, nullability, keys and CHECK constraints.

    Changes nothing, but creates a temporary table, which the end of the transaction removes.

    Args:
        connection: In a transaction.
        further: Other tables that this database's migrations create.
    """
    found: list[Difference] = []
    for table in (*metadata.sorted_tables, *further):
        found += compare_columns(connection, table)
        if table in EDITED_TABLES:
            found += compare_key(connection, table)
            found += compare_conditions(connection, table)
    return found


def repair(connection: Connection) -> list[str]:
    """Make the tables that people write equal to `tables`, as far as their rows allow.

    Returns:
        Lines for a person: the changes to existing columns and constraints, and the remaining differences with the
        first rows that prevent their correction.
    """
    notes: list[str] = []
    for table in EDITED_TABLES:
        # Keys and constraints depend on the types of the columns, so the columns come first.
        for compare in (compare_columns, compare_key, compare_conditions):
            for difference in compare(connection, table):
                notes += difference.repaired(connection)
    return notes
