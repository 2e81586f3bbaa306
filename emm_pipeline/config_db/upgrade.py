"""Create and upgrade the configuration database, for `emm db upgrade`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import make_url, text

from emm_pipeline.config_db.engine import create_config_engine, database_errors
from emm_pipeline.config_db.schema import differences, repair
from emm_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import URL, Connection, Engine, Table

VERSION_TABLE = "emm_alembic_version"
"""Name of Alembic's table; Dagster's storage, which may be in the same database, uses the default name."""

LOCK_TIMEOUT_S = 60
"""Seconds to wait for another upgrade, or for a session that has locked a table."""

_LOCK_KEY = 0x454D4D_01
"""Key of the advisory lock that permits only one upgrade, or one creation of a database, at a time."""


@dataclass(frozen=True, slots=True)
class SchemaState:
    """The database's revision (None: never upgraded), and the revision that this version of EMM needs.

    `differences` describes each difference of the tables from those of the revision in one line.
    """

    current: str | None
    wanted: str
    differences: tuple[str, ...] = ()

    @property
    def is_newest(self) -> bool:
        """Whether all migrations have been applied."""
        return self.current == self.wanted

    @property
    def up_to_date(self) -> bool:
        """Whether nothing has to be upgraded or corrected."""
        return self.is_newest and not self.differences


def check(engine: Engine, further: Iterable[Table] = ()) -> SchemaState:
    """Compare the database's revision and tables with the required ones, without changing anything.

    Args:
        engine: The configuration database.
        further: Tables that the migrations create in addition to those of `tables`.

    Raises:
        ConfigDatabaseError: The database cannot be reached.
    """
    with database_errors(engine), engine.connect() as connection:
        state = _state(connection)
        if not state.is_newest:
            return state
        found = tuple(map(str, differences(connection, further)))
        connection.rollback()
    return replace(state, differences=found)


def upgrade(engine: Engine) -> list[str]:
    """Upgrade the database in one transaction, without losing a row. It may be run twice, and by two processes at once.

    Returns:
        Lines for a person: the changes, and the remaining differences. The latter are repeated at each upgrade until a
        person has corrected the rows or columns.

    Raises:
        ConfigDatabaseError: The database cannot be reached, or rejects a statement, for example because the user does
            not own a table.
        ConfigurationError: The database was upgraded by a newer version of EMM.
    """
    with database_errors(engine), engine.begin() as connection:
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
        before = _state(connection)
        try:
            command.upgrade(_alembic(connection), "head")
        except CommandError as err:
            raise ConfigurationError(
                f"the database is at revision {before.current}, which this version of EMM does not know: "
                "install the newer one that upgraded it"
            ) from err
        done = [] if before.is_newest else [f"Database is up to date ({before.wanted})"]
        return done + repair(connection)


def ensure_database(url: str | URL) -> bool:
    """Create the database that the URL names if it does not exist; two processes may do so at once.

    Returns:
        True if it was created.

    Raises:
        ConfigDatabaseError: The server cannot be reached, or does not let the user create a database.
    """
    name = make_url(url).database or ""
    server = create_config_engine(make_url(url).set(database="postgres"))
    try:
        with database_errors(server), server.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK_KEY})
            exists = text("SELECT 1 FROM pg_database WHERE datname = :name")
            if connection.scalar(exists, {"name": name}):
                return False
            quoted = connection.dialect.identifier_preparer.quote_identifier(name)
            connection.exec_driver_sql(f"CREATE DATABASE {quoted}")
            return True
    finally:
        server.dispose()  # ends the session, which releases the lock


def _state(connection: Connection) -> SchemaState:
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    scripts = ScriptDirectory.from_config(_alembic(connection))
    return SchemaState(context.get_current_revision(), str(scripts.get_current_head()))


def _alembic(connection: Connection) -> Config:
    config = Config(attributes={"connection": connection, "version_table": VERSION_TABLE})
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    return config
