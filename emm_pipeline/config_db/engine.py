"""The SQLAlchemy engine of the configuration database, and the translation of SQLAlchemy's errors into EMM's."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import URL, Connection, Engine, create_engine, make_url
from sqlalchemy.exc import SQLAlchemyError

from emm_pipeline.errors import ConfigDatabaseError
from emm_pipeline.postgres_errors import explain

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECT_TIMEOUT_S = 5


def psycopg2_url(url: str | URL) -> URL:
    """Return the URL with the driver psycopg2, since the default of `postgresql://` depends on SQLAlchemy's version."""
    url = make_url(url)
    return url.set(drivername="postgresql+psycopg2") if url.drivername == "postgresql" else url


def create_config_engine(url: str | URL) -> Engine:
    """Return an engine that survives a restart of the server and detects within seconds that the server is down."""
    return create_engine(
        psycopg2_url(url),
        pool_pre_ping=True,
        pool_size=3,
        max_overflow=7,
        use_native_hstore=False,  # not used, and SQLAlchemy would look for it at each new connection
        connect_args={
            "application_name": "emm",
            "client_encoding": "utf8",  # the default is the database's own, which may be LATIN1 or SQL_ASCII
            "connect_timeout": CONNECT_TIMEOUT_S,
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 30_000,
        },
    )


@contextmanager
def database_errors(engine: Engine) -> Iterator[None]:
    """Translate SQLAlchemy's errors in the block into one line: which database, the reason, and what to do.

    Raises:
        ConfigDatabaseError: Replaces any SQLAlchemyError. Its message never contains the password.
    """
    try:
        yield
    except SQLAlchemyError as err:
        raise ConfigDatabaseError(f"configuration database {explain(engine.url, err)}") from err


@contextmanager
def connected(database: Engine | Connection) -> Iterator[Connection]:
    """Yield a connection: the given one, or a new one, which is closed at the end.

    Several functions can use one connection one after the other, which saves a ping and a transaction for each.

    Raises:
        ConfigDatabaseError: See `database_errors`.
    """
    if isinstance(database, Connection):
        with database_errors(database.engine):
            yield database
    else:
        with database_errors(database), database.connect() as connection:
            yield connection
