"""PostgreSQL's credentials: change the administrator's password, and create a role for each purpose, no superusers."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg2
import psycopg2.extensions
from psycopg2.extensions import encrypt_password
from psycopg2.sql import SQL, Identifier, Literal

from emm_pipeline.access.vault import ROLES
from emm_pipeline.errors import ConfigDatabaseError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import URL

    from emm_pipeline.access.vault import Vault
    from emm_pipeline.settings import Settings

_CONNECT_TIMEOUT_S = 5
_REFUSED = "password authentication failed"

_OWNED = """
    SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
                          ELSE 'TABLE' END,
           n.nspname, c.relname
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
      AND pg_get_userbyid(c.relowner) <> %s
      AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype IN ('a', 'i', 'e')
                                                      AND d.classid = 'pg_class'::regclass)
    ORDER BY c.relkind = 'S'
"""
"""Query for relations of the schema public that another role owns; a column's sequence follows its table."""


_NOT_FOR_READER = ("web_accounts", "web_tokens", "web_changes")
"""Tables that `emm mqtt` does not need: digests of passwords and tokens, and the log of changes."""


@dataclass(frozen=True, slots=True)
class Roles:
    """The stack's roles for one configuration database, after which they are named."""

    owner: str
    pipeline: str
    dagster: str
    reader: str

    @classmethod
    def of(cls, database: str) -> Roles:
        """Return the names for a database."""
        return cls(*(f"{database}_{purpose}" for purpose in ("owner", "pipeline", "dagster", "reader")))


class PostgresAccess:
    """The PostgreSQL server at POSTGRES_HOST, administrated as POSTGRES_USER."""

    def __init__(self, settings: Settings, vault: Vault) -> None:
        self._settings = settings
        self._vault = vault
        self._database = settings.postgres_db
        self._user = settings.postgres_user
        self.roles = Roles.of(self._database)

    def accept_password(self) -> bool:
        """Make the server accept the current password of POSTGRES_USER; return whether the password changed.

        Raises:
            ConfigDatabaseError: the server does not answer.
            ConfigurationError: it accepts none of the passwords that the stack has ever had.
        """
        current = self._vault.value("POSTGRES_PASSWORD")
        for password in (current, *self._vault.older("POSTGRES_PASSWORD")):
            with self._connection("postgres", password) as connection:
                if connection is None:
                    continue
                if password != current:
                    self._set_password(connection, self._user, current)
            self._vault.applied("POSTGRES_PASSWORD", current)
            return password != current
        raise ConfigurationError(
            f"PostgreSQL at {self._settings.postgres_host} accepts neither POSTGRES_PASSWORD nor one that this stack "
            f"had before: set the one that role {self._user} has in config/.env, and start again"
        )

    def make_roles(self) -> dict[str, dict[str, str]] | None:
        """Create the roles and Dagster's database, and grant each role the rights that it needs. It may be repeated.

        Returns:
            The settings for `owner`, `pipeline`, `dagster` and `reader`; None if POSTGRES_USER is not a superuser and
            is therefore used for all of them.
        """
        with self._administrator("postgres") as server:
            if not _value(server, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"):
                return None
            for role, password in self._passwords().items():
                if not _value(server, "SELECT 1 FROM pg_roles WHERE rolname = %s", role):
                    _execute(server, SQL("CREATE ROLE {} LOGIN").format(Identifier(role)))
                self._set_password(server, role, password)
            for database, owner in (
                (self._database, self.roles.owner),
                (f"{self._database}_dagster", self.roles.dagster),
            ):
                if not _value(server, "SELECT 1 FROM pg_database WHERE datname = %s", database):
                    _execute(server, SQL("CREATE DATABASE {}").format(Identifier(database)))
                _execute(server, SQL("ALTER DATABASE {} OWNER TO {}").format(Identifier(database), Identifier(owner)))
        self._own(f"{self._database}_dagster", self.roles.dagster)
        self._own(self._database, self.roles.owner)
        self._grant()
        return self.settings_by_role()

    def settings_by_role(self) -> dict[str, dict[str, str]]:
        """Return the settings with which each role's services connect."""
        passwords = self._passwords()
        owner, pipeline, dagster, reader = ((role, passwords[role]) for role in self._names())
        dagsters = {"DAGSTER_POSTGRES_USER": dagster[0], "DAGSTER_POSTGRES_PASSWORD": dagster[1]}
        return {
            "owner": {"POSTGRES_USER": owner[0], "POSTGRES_PASSWORD": owner[1], **dagsters},
            "pipeline": {"POSTGRES_USER": pipeline[0], "POSTGRES_PASSWORD": pipeline[1], **dagsters},
            "dagster": {"POSTGRES_USER": dagster[0], "POSTGRES_PASSWORD": dagster[1]},
            "reader": {"POSTGRES_USER": reader[0], "POSTGRES_PASSWORD": reader[1]},
        }

    def single_user(self) -> dict[str, dict[str, str]]:
        """Return the settings with which all services use the same user."""
        both = {"POSTGRES_USER": self._user, "POSTGRES_PASSWORD": self._vault.value("POSTGRES_PASSWORD")}
        return dict.fromkeys(("owner", "pipeline", "dagster", "reader"), both)

    def _names(self) -> tuple[str, str, str, str]:
        return self.roles.owner, self.roles.pipeline, self.roles.dagster, self.roles.reader

    def _passwords(self) -> Mapping[str, str]:
        return {role: self._vault.value(name) for role, name in zip(self._names(), ROLES, strict=True)}

    def _own(self, database: str, owner: str) -> None:
        """Make a role the owner of everything in the database's schema public."""
        with self._administrator(database) as connection:
            _execute(connection, SQL("ALTER SCHEMA public OWNER TO {}").format(Identifier(owner)))
            with connection.cursor() as cursor:
                cursor.execute(_OWNED, (owner,))
                found = cursor.fetchall()
            for kind, schema, name in found:
                change = SQL("ALTER {} {} OWNER TO {}")
                _execute(connection, change.format(SQL(kind), Identifier(schema, name), Identifier(owner)))

    def _grant(self) -> None:
        """Allow the pipeline to read and write rows, and the reader to read them, also of future tables.

        Neither may create or change tables.
        """
        owner = Identifier(self.roles.owner)
        rights = (
            (self.roles.pipeline, SQL("SELECT, INSERT, UPDATE, DELETE"), SQL("TABLES")),
            (self.roles.pipeline, SQL("USAGE, SELECT, UPDATE"), SQL("SEQUENCES")),
            (self.roles.reader, SQL("SELECT"), SQL("TABLES")),
        )
        with self._administrator(self._database) as connection:
            for name, granted, kind in rights:
                role = Identifier(name)
                _execute(connection, SQL("GRANT USAGE ON SCHEMA public TO {}").format(role))
                _execute(connection, SQL("GRANT {} ON ALL {} IN SCHEMA public TO {}").format(granted, kind, role))
                later = SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {} IN SCHEMA public GRANT {} ON {} TO {}")
                _execute(connection, later.format(owner, granted, kind, role))
            for table in _NOT_FOR_READER:  # the migration that creates them withdraws the default rights, too
                if _value(connection, "SELECT to_regclass(%s)", f"public.{table}"):
                    withdraw = SQL("REVOKE ALL ON {} FROM {}").format(Identifier(table), Identifier(self.roles.reader))
                    _execute(connection, withdraw)

    def _set_password(self, connection: psycopg2.extensions.connection, role: str, password: str) -> None:
        # The statement contains the verifier, so that no log of statements shows the password.
        verifier = encrypt_password(password, role, connection, "scram-sha-256")
        _execute(connection, SQL("ALTER ROLE {} PASSWORD {}").format(Identifier(role), Literal(verifier)))

    @contextmanager
    def _administrator(self, database: str) -> Iterator[psycopg2.extensions.connection]:
        with self._connection(database, self._vault.value("POSTGRES_PASSWORD")) as connection:
            if connection is None:
                raise ConfigDatabaseError(f"PostgreSQL no longer accepts the password of role {self._user}")
            yield connection

    @contextmanager
    def _connection(self, database: str, password: str) -> Iterator[psycopg2.extensions.connection | None]:
        """Yield a connection in autocommit mode; None if the password is refused."""
        url = self._settings.config_database_url
        where = f"PostgreSQL at {self._settings.postgres_host}:{self._settings.postgres_port}"
        try:
            connection = psycopg2.connect(**_arguments(url), dbname=database, user=self._user, password=password)
        except psycopg2.OperationalError as err:
            if _REFUSED not in str(err):
                raise ConfigDatabaseError(f"{where}: {' '.join(str(err).split())}") from None
            yield None
            return
        try:
            connection.autocommit = True
            yield connection
        except psycopg2.Error as err:
            raise ConfigDatabaseError(f"{where}: {' '.join(str(err).split())}") from None
        finally:
            connection.close()


def _arguments(url: URL) -> dict[str, Any]:
    host, port = (url.host, url.port) if url.host else (url.query.get("host"), url.query.get("port"))
    return {
        "host": host,
        "port": port,
        "connect_timeout": _CONNECT_TIMEOUT_S,
        "application_name": "emm secrets",
        "client_encoding": "utf8",
    }


def _execute(connection: psycopg2.extensions.connection, statement: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)  # type: ignore[arg-type]  # composed of identifiers and literals


def _value(connection: psycopg2.extensions.connection, query: str, *values: str) -> object:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        row = cursor.fetchone()
    return row[0] if row else None
