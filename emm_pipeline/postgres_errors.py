"""Messages for PostgreSQL's errors: where, why, and what to do.

Used by the configuration database and the PostgreSQL store. Needs no driver: it uses the driver's error in SQLAlchemy's
errors (`orig`, with its `pgcode`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import URL
    from sqlalchemy.exc import SQLAlchemyError

ACCESS_HINTS = {
    "42P01": 'a table is missing: run "emm db upgrade"',
    "42703": 'a column is missing: run "emm db upgrade"',
    "42501": "grant POSTGRES_USER the right to do this",
}
"""Advice for errors that a person has to correct, by SQLSTATE."""

_HINTS = ACCESS_HINTS | {
    "55P03": "another session has locked the table: end it, and try again",
    "22021": "the database's encoding, SQL_ASCII, accepts any bytes: write names and descriptions again in UTF-8",
}

_CONNECTION_HINTS = {
    "password": "check POSTGRES_USER and POSTGRES_PASSWORD",
    "does not exist": "check POSTGRES_DB and POSTGRES_USER",
}
"""Advice for failed connections, by a word of the message, because such errors have no SQLSTATE."""

_UNREACHABLE_HINT = "is PostgreSQL running at POSTGRES_HOST and POSTGRES_PORT?"


def sqlstate(error: SQLAlchemyError) -> str:
    """Return the SQLSTATE (PostgreSQL, appendix A); an empty text if the server did not send one."""
    return getattr(_cause(error), "pgcode", None) or ""


def place(url: URL) -> str:
    """Return a database's `host:port/name`, without user and password."""
    host = url.host or url.query.get("host") or "localhost"
    return f"{host}:{url.port or 5432}/{url.database}"


def reason(url: URL, error: SQLAlchemyError) -> str:
    """Return PostgreSQL's own message as one line, without SQLAlchemy's statement and without a password."""
    line = " ".join(str(_cause(error)).split())
    return line.replace(url.password, "***") if url.password else line


def explain(url: URL, error: SQLAlchemyError) -> str:
    """Return the place, the reason and, in parentheses, the advice if there is one."""
    why = reason(url, error)
    hint = _HINTS.get(sqlstate(error))
    if hint is None and not sqlstate(error) and _is_connection_error(error):
        hint = next((hint for word, hint in _CONNECTION_HINTS.items() if word in why), _UNREACHABLE_HINT)
    return f"{place(url)}: {why}" + (f" ({hint})" if hint else "")


def _cause(error: SQLAlchemyError) -> BaseException:
    """Return the driver's error, or SQLAlchemy's own if there is none."""
    cause: BaseException | None = getattr(error, "orig", None)
    return cause or error


def _is_connection_error(error: SQLAlchemyError) -> bool:
    """Whether the driver reports an OperationalError (DB-API 2.0): no connection, or a broken one."""
    return any(cls.__name__ == "OperationalError" for cls in type(_cause(error)).__mro__)
