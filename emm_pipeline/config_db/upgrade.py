"""Make the configuration database, and bring an old one up to date: what `emm db upgrade` does."""

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
"""Alembic's own table; Dagster's storage, which may share the database, uses the default name."""

LOCK_TIMEOUT_S = 60
"""How long to wait for another upgrade, or for a session that holds a table."""

_LOCK_KEY = 0x454D4D_01
"""PostgreSQL advisory lock: one upgrade, or one creation of a database, at a time."""


@dataclass(frozen=True, slots=True)
class SchemaState:
    """Which revision the database is at (None: never upgraded), and which this version of EMM wants.

    `differences` says how its tables differ from those of its revision, a line each.
    """

    current: str | None
    wanted: str
    differences: tuple[str, ...] = ()

    @property
    def is_newest(self) -> bool:
        """Whether all migrations are done."""
        return self.current == self.wanted

    @property
    def up_to_date(self) -> bool:
        """Whether there is nothing to upgrade or correct."""
        return self.is_newest and not self.differences


def check(engine: Engine, further: Iterable[Table] = ()) -> SchemaState:
    """Compare the database's revision, and its tables, with the wanted ones; changes nothing.

    Args:
        engine: The configuration database.
        further: Tables beside those of `tables` that the migrations make.

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
    """Bring the database up to date: all of it or nothing, no row lost. Safe to run twice, and two at once.

    Returns:
        Lines for a person: what was changed, and how the tables still differ from what they should be. The latter
        come again at each upgrade until a person has corrected rows or columns.

    Raises:
        ConfigDatabaseError: The database cannot be reached, or refuses, as where the user does not own a table.
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
    """Create the database that the URL names where it is absent; safe when two do so at once.

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
        server.dispose()  # ends the session, and its lock with it


def _state(connection: Connection) -> SchemaState:
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    scripts = ScriptDirectory.from_config(_alembic(connection))
    return SchemaState(context.get_current_revision(), str(scripts.get_current_head()))


def _alembic(connection: Connection) -> Config:
    config = Config(attributes={"connection": connection, "version_table": VERSION_TABLE})
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    return config
