"""Accounts and tokens of the web page, and the log of changes made through it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, update

from emm_pipeline.config_db.device_state.meter_status import storable
from emm_pipeline.config_db.engine import database_errors
from emm_pipeline.config_db.upsert import upsert
from emm_pipeline.config_db.web_tables import web_accounts, web_changes, web_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

_NOTED_EVERY = timedelta(minutes=1)
"""How often the use of a token is recorded at most."""


@dataclass(frozen=True, slots=True)
class StoredAccount:
    """A row of `web_accounts`."""

    name: str
    password_hash: str
    replaces: str | None
    may_change: bool


@dataclass(frozen=True, slots=True)
class Token:
    """A row of `web_tokens` without its digest; times are aware."""

    id: int
    name: str
    may_change: bool
    created_by: str
    created_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Change:
    """A change: who made it, from which address, what it did to what, and the values before and after it."""

    who: str
    address: str
    action: str
    subject: str
    before: Any = None
    after: Any = None


@dataclass(frozen=True, slots=True)
class RecordedChange:
    """A change in the log; `at` is aware."""

    id: int
    at: datetime
    change: Change


def load_account(engine: Engine, name: str) -> StoredAccount | None:
    """Return an account's row.

    Raises:
        ConfigDatabaseError: The database cannot be read or written. All functions here raise it.
    """
    columns = (web_accounts.c[name] for name in StoredAccount.__slots__)
    with database_errors(engine), engine.connect() as connection:
        row = connection.execute(select(*columns).where(web_accounts.c.name == name)).first()
    return StoredAccount(*row) if row else None


def load_accounts(engine: Engine) -> list[StoredAccount]:
    """Return all rows of accounts, by name."""
    columns = (web_accounts.c[name] for name in StoredAccount.__slots__)
    with database_errors(engine), engine.connect() as connection:
        return [StoredAccount(*row) for row in connection.execute(select(*columns).order_by(web_accounts.c.name))]


def save_account(engine: Engine, account: StoredAccount) -> None:
    """Write an account, or replace its password and rights."""
    row = {name: getattr(account, name) for name in StoredAccount.__slots__} | {"changed_at": datetime.now(UTC)}
    with database_errors(engine), engine.begin() as connection:
        upsert(connection, web_accounts, [row])


def remove_account(engine: Engine, name: str) -> bool:
    """Delete an account; return whether it existed."""
    with database_errors(engine), engine.begin() as connection:
        return bool(connection.execute(delete(web_accounts).where(web_accounts.c.name == name)).rowcount)


def add_token(engine: Engine, name: str, digest: str, *, may_change: bool, created_by: str) -> None:
    """Write a new token's digest."""
    row = {"name": name, "digest": digest, "may_change": may_change, "created_by": created_by}
    with database_errors(engine), engine.begin() as connection:
        connection.execute(insert(web_tokens), row)


def load_tokens(engine: Engine) -> list[Token]:
    """Return all tokens, oldest first."""
    columns = (web_tokens.c[name] for name in Token.__slots__)
    with database_errors(engine), engine.connect() as connection:
        return [Token(*row) for row in connection.execute(select(*columns).order_by(web_tokens.c.id))]


def use_token(engine: Engine, digest: str) -> Token | None:
    """Return the token with this digest, and note that it is used, at most once a minute; None if there is none."""
    columns = (web_tokens.c[name] for name in Token.__slots__)
    now = datetime.now(UTC)
    is_old = web_tokens.c.last_used_at.is_(None) | (web_tokens.c.last_used_at < now - _NOTED_EVERY)
    with database_errors(engine), engine.begin() as connection:
        row = connection.execute(select(*columns).where(web_tokens.c.digest == digest)).first()
        if row:
            connection.execute(update(web_tokens).where(web_tokens.c.id == row.id, is_old).values(last_used_at=now))
    return Token(*row) if row else None


def remove_token(engine: Engine, id_: int) -> str | None:
    """Delete a token, which is refused from now on; return its name, None if it did not exist."""
    statement = delete(web_tokens).where(web_tokens.c.id == id_).returning(web_tokens.c.name)
    with database_errors(engine), engine.begin() as connection:
        name: str | None = connection.scalar(statement)
    return name


def record_changes(engine: Engine, changes: Sequence[Change]) -> None:
    """Add changes to the log."""
    rows = [
        {
            "who": change.who,
            "address": change.address,
            "action": change.action,
            "subject": storable(change.subject),
            "before": _to_text(change.before),
            "after": _to_text(change.after),
        }
        for change in changes
    ]
    if rows:
        with database_errors(engine), engine.begin() as connection:
            connection.execute(insert(web_changes), rows)


def load_changes(engine: Engine, limit: int, before_id: int | None = None) -> Sequence[RecordedChange]:
    """Return the latest changes, newest first; `before_id` continues after the last one of an earlier call."""
    query = select(web_changes).order_by(web_changes.c.id.desc()).limit(limit)
    if before_id is not None:
        query = query.where(web_changes.c.id < before_id)
    with database_errors(engine), engine.connect() as connection:
        return [
            RecordedChange(
                row.id,
                row.at,
                Change(row.who, row.address, row.action, row.subject, _of_text(row.before), _of_text(row.after)),
            )
            for row in connection.execute(query)
        ]


def _to_text(value: Any) -> str | None:
    return None if value is None else storable(json.dumps(value, default=str, ensure_ascii=False, sort_keys=True))


def _of_text(value: str | None) -> Any:
    return None if value is None else json.loads(value)
