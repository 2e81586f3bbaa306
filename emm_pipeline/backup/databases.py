"""Save and restore a PostgreSQL database: its definitions, and the rows of each table by COPY, from one snapshot.

PostgreSQL's own programs are not needed. Rights of roles are not saved: the stack grants them at its start.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg2

from emm_pipeline.backup.archive import BackupError
from emm_pipeline.backup.definitions import (
    create_statements,
    definitions,
    drop_statements,
    finish_statements,
    identifier,
    quoted,
)
from emm_pipeline.config_db.engine import create_config_engine, database_errors
from emm_pipeline.postgres_errors import place

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from psycopg2.extensions import cursor as Cursor  # noqa: N812  # a class
    from sqlalchemy import URL

    from emm_pipeline.backup.archive import ArchiveReader, ArchiveWriter

CONFIGURATION, DAGSTER = "postgresql/configuration", "postgresql/dagster"
RUN_HISTORY = frozenset({"event_logs", "job_ticks", "asset_check_executions", "snapshots"})
"""The tables of Dagster's database that grow with each run."""

_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"


def save_database(url: URL, archive: ArchiveWriter, folder: str, without: Collection[str] = ()) -> int:
    """Write all tables of a database below `folder`; return the number of rows.

    Args:
        url: the database.
        archive: the backup.
        folder: the beginning of the parts' names.
        without: tables whose rows are left out.

    Raises:
        ConfigDatabaseError: the database cannot be reached.
        BackupError: it cannot be read.
    """
    rows = 0
    with _cursor(url, "saved") as cursor:
        cursor.execute(_SNAPSHOT)
        found = definitions(cursor)
        archive.json(f"{folder}/definitions.json", found)
        for table in found["tables"]:
            if table["name"] in without:
                continue
            with archive.stream(_part(folder, table["name"])) as stream:
                cursor.copy_expert(f"COPY {_with_columns(table)} TO STDOUT", stream)
            rows += max(cursor.rowcount, 0)
    return rows


def restore_database(url: URL, archive: ArchiveReader, folder: str) -> int:
    """Replace everything in a database's schema public by the content of a backup; return the number of rows.

    It happens in one transaction: an error leaves the database as it was.

    Raises:
        ConfigDatabaseError: the database cannot be reached.
        BackupError: it cannot be written.
    """
    found = archive.json(f"{folder}/definitions.json")
    rows = 0
    with _cursor(url, "restored") as cursor:
        for statement in (*drop_statements(definitions(cursor)), *create_statements(found)):
            cursor.execute(statement)
        for table in found["tables"]:
            part = _part(folder, table["name"])
            if archive.has(part):
                with archive.stream(part) as stream:
                    cursor.copy_expert(f"COPY {_with_columns(table)} FROM STDIN", stream)
                rows += max(cursor.rowcount, 0)
        for statement in finish_statements(found):
            cursor.execute(statement)
    return rows


@contextmanager
def _cursor(url: URL, what: str) -> Iterator[Cursor]:
    """Yield a cursor of one transaction, which is committed at the end."""
    engine = create_config_engine(url)
    try:
        with database_errors(engine):
            connection = engine.connect()
        driver: Any = connection.connection.driver_connection
        try:
            with driver.cursor() as cursor:
                yield cursor
            driver.commit()
        except psycopg2.Error as err:
            raise BackupError(f"database {place(url)} cannot be {what}: {' '.join(str(err).split())}") from None
        finally:
            connection.close()
    finally:
        engine.dispose()


def _with_columns(table: Mapping[str, Any]) -> str:
    columns = (identifier(each["name"]) for each in table["columns"] if not each["generated"])
    return f"{quoted(table['name'])} ({', '.join(columns)})"


def _part(folder: str, table: str) -> str:
    return f"{folder}/{table}.copy"
