"""The tables of a database compared with `tables`, and made equal where the rows allow it.

The two first tables may have been made by hand or by an older program: with narrower columns, without keys, with
conditions of their own, and with rows that cannot be right. No row is lost: a condition is added NOT VALID, so that it
binds what is written from now on, and is validated once all rows comply. That may be only after a person has corrected
some, so this runs at each upgrade.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emm_pipeline.config_db.schema.columns import compare_columns, compare_key
from emm_pipeline.config_db.schema.conditions import compare_conditions
from emm_pipeline.config_db.tables import combined_measurements, energy_meters, metadata, meter_types, registers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection, Table

    from emm_pipeline.config_db.schema.differences import Difference

EDITED_TABLES = (energy_meters, registers, meter_types, combined_measurements)
"""The tables that people write. The pipeline's own are made by the migrations, and only compared."""


def differences(connection: Connection, further: Iterable[Table] = ()) -> list[Difference]:
    """Return how the tables differ from `tables`: columns, types, lengths, nullability, keys and conditions.

    Changes nothing, but needs to make a temporary table, which the end of the transaction removes.

    Args:
        connection: In a transaction.
        further: Other tables of this database, made by its migrations too.
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
        Lines for a person: what was changed of columns and conditions that the database had, and what still differs,
        with the first rows that are in the way.
    """
    notes: list[str] = []
    for table in EDITED_TABLES:
        # Keys and conditions depend on the types of the columns, so these come first.
        for compare in (compare_columns, compare_key, compare_conditions):
            for difference in compare(connection, table):
                notes += difference.repaired(connection)
    return notes
