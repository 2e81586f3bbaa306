"""A PostgreSQL server that requires passwords, as in the stack; the tests' other server trusts its socket."""

from collections.abc import Iterator

import psycopg2
import pytest
from sqlalchemy import create_engine, text
from support.postgres import copy_cluster, postgres_folder

from emm_pipeline.embedded_postgres import EmbeddedPostgres
from emm_pipeline.settings import Settings

ADMIN = "emm"


class GuardedPostgres:
    """A server whose superuser is `emm`, with a password; `settings` are those of a stack that uses it."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self.server = server
        (server.data_dir / "pg_hba.conf").write_text("local all postgres trust\nlocal all all scram-sha-256\n")
        self._execute("SELECT pg_reload_conf()")

    def reset(self, password: str) -> None:
        """Reset the server: only the superuser with this password, and an empty database."""
        for database in ("emm", "emm_dagster"):
            self._execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
        for role in (ADMIN, "emm_owner", "emm_pipeline", "emm_dagster", "emm_reader", "plain"):
            self._execute(f"DROP ROLE IF EXISTS {role}")
        self._execute(f"CREATE ROLE {ADMIN} SUPERUSER LOGIN PASSWORD '{password}'")
        self._execute(f"CREATE DATABASE emm OWNER {ADMIN}")

    def _execute(self, statement: str) -> None:
        engine = create_engine(self.server.url(), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(statement))
        engine.dispose()

    def settings(self, **more: str) -> Settings:
        """Return settings for this server; further settings are keyword arguments."""
        fields = {
            "postgres_host": str(self.server.socket_dir),
            "postgres_user": ADMIN,
            "postgres_db": "emm",
            "readings_store": "postgresql",
        }
        return Settings(_env_file=None, **fields | more)  # type: ignore[call-arg,arg-type]

    def accepts(self, user: str, password: str, database: str = "emm") -> bool:
        """Whether a role can log in with a password."""
        try:
            self.connect(user, password, database).close()
        except psycopg2.OperationalError as err:
            if "password authentication failed" in str(err):
                return False
            raise
        return True

    def connect(self, user: str, password: str, database: str = "emm") -> "psycopg2.extensions.connection":
        """Return a connection of a role."""
        return psycopg2.connect(host=str(self.server.socket_dir), dbname=database, user=user, password=password)


@pytest.fixture(scope="session")
def guarded_postgres() -> Iterator[GuardedPostgres]:
    """The session's server that asks for passwords."""
    with postgres_folder() as folder:
        copy_cluster(folder / "data")
        with EmbeddedPostgres(folder / "data", durable=False) as server:
            yield GuardedPostgres(server)
            server.kill()


@pytest.fixture
def example_postgres(guarded_postgres: GuardedPostgres) -> GuardedPostgres:
    """A server as an older version set it up, with the published password."""
    guarded_postgres.reset("example_postgres_password")
    return guarded_postgres
