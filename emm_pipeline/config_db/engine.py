"""The connection to the configuration database, and the one place where SQLAlchemy's errors become ours."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg2
from sqlalchemy import URL, Engine, create_engine, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from emm_pipeline.errors import ConfigDatabaseError

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECT_TIMEOUT_S = 5

_HINTS = {
    "42P01": 'a table is missing: run "emm db upgrade"',
    "42703": 'a column is missing: run "emm db upgrade"',
    "42501": "give POSTGRES_USER the right to do so",
    "55P03": "another session holds the table: end it, and try again",
}
"""What to do, by SQLSTATE."""

_CONNECTION_HINTS = {
    "password": "check POSTGRES_USER and POSTGRES_PASSWORD",
    "does not exist": "check POSTGRES_DB and POSTGRES_USER",
}
"""What to do, by a word in the text: a connection that fails brings no SQLSTATE."""


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
        raise ConfigDatabaseError(_explain(engine.url, err)) from err


def _explain(url: URL, err: SQLAlchemyError) -> str:
    cause = err.orig if isinstance(err, DBAPIError) and err.orig is not None else err
    reason = " ".join(str(cause).split())
    if url.password:
        reason = reason.replace(url.password, "***")
    hint = _HINTS.get(getattr(cause, "pgcode", None) or "")
    if isinstance(cause, psycopg2.OperationalError) and cause.pgcode is None:
        unreachable = "is PostgreSQL running at POSTGRES_HOST and POSTGRES_PORT?"
        hint = next((hint for word, hint in _CONNECTION_HINTS.items() if word in reason), unreachable)
    return f"configuration database {_place(url)}: {reason}" + (f" ({hint})" if hint else "")


def _place(url: URL) -> str:
    host = url.host or url.query.get("host") or "localhost"
    return f"{host}:{url.port or 5432}/{url.database}"
