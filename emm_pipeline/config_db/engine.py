"""The connection to the configuration database, and the one place where SQLAlchemy's errors become ours."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import URL, Engine, create_engine, make_url
from sqlalchemy.exc import SQLAlchemyError

from emm_pipeline.errors import ConfigDatabaseError
from emm_pipeline.postgres_errors import explain

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECT_TIMEOUT_S = 5


def psycopg2_url(url: str | URL) -> URL:
    """The URL with its driver named: to SQLAlchemy 2.1 a bare `postgresql://` is psycopg 3, to 2.0 psycopg2."""
    url = make_url(url)
    return url.set(drivername="postgresql+psycopg2") if url.drivername == "postgresql" else url


def create_config_engine(url: str | URL) -> Engine:
    """An engine that survives a restart of the server and notices soon when the server is gone."""
    return create_engine(
        psycopg2_url(url),
        pool_pre_ping=True,
        pool_size=3,
        max_overflow=7,
        connect_args={
            "application_name": "emm",
            "connect_timeout": CONNECT_TIMEOUT_S,
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 30_000,
        },
    )


@contextmanager
def database_errors(engine: Engine) -> Iterator[None]:
    """Turn what SQLAlchemy raises inside the block into one line: which database, why, and what to do.

    Raises:
        ConfigDatabaseError: Instead of any SQLAlchemyError. Its text never holds the password.
    """
    try:
        yield
    except SQLAlchemyError as err:
        raise ConfigDatabaseError(f"configuration database {explain(engine.url, err)}") from err
