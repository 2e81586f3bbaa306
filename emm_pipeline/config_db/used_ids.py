"""Ids that any meter has or had: table `used_meter_ids`.

The readings of a removed meter stay in the store under its id, so its id is never given to another device. Every
function that adds, discovers, polls or removes meters records their ids; the ids of rows that a person writes in SQL
are recorded at the next discovery.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from emm_pipeline.config_db.engine import database_errors
from emm_pipeline.config_db.tables import used_meter_ids

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection, Engine


def load_used_ids(connection: Connection) -> set[int]:
    """Return all recorded ids that any meter has or had."""
    return set(connection.scalars(select(used_meter_ids.c.id)))


def record_used_ids(connection: Connection, ids: Collection[int]) -> None:
    """Record that these ids are in use, in the transaction of the connection."""
    if ids:
        statement = insert(used_meter_ids).on_conflict_do_nothing()
        connection.execute(statement, [{"id": id_} for id_ in sorted(ids)])


def record_polled_ids(engine: Engine, ids: Collection[int]) -> None:
    """Record the ids of meters whose readings are about to be stored.

    Raises:
        ConfigDatabaseError: The database cannot be written.
    """
    with database_errors(engine), engine.begin() as connection:
        record_used_ids(connection, ids)
