"""The fleet, as the configuration database has it now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from emm_pipeline.config_db.engine import database_errors
from emm_pipeline.config_db.validation import check_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Engine

    from emm_pipeline.fleet import Fleet


def load_fleet(engine: Engine) -> Fleet:
    """Read and check the configuration, all of it as of one moment.

    A database that has only the two first tables, never upgraded, is read as well.

    Raises:
        ConfigDatabaseError: The database cannot be read. Never an empty fleet instead: callers remove what is
            not in it.
    """
    with database_errors(engine), engine.connect() as connection:
        connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        meters = rows_of(connection, "energy_meters")
        registers = rows_of(connection, "registers")
        has_types = connection.scalar(text("SELECT to_regclass('meter_types') IS NOT NULL"))
        types = rows_of(connection, "meter_types") if has_types else []
    return check_rows(meters, registers, types)


def rows_of(connection: Connection, table: str) -> Sequence[Mapping[str, Any]]:
    """All rows, with whatever columns there are: columns that came later may be absent."""
    result = connection.execute(text(f"SELECT * FROM {table}"))  # noqa: S608 - one of three names above
    columns = tuple(result.keys())
    return [dict(zip(columns, row, strict=True)) for row in result]
