"""The sender of a request: a browser with a session, a program with a token, or this machine without a login."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from emm_pipeline.config_db.web_state import add_token, use_token
from emm_pipeline.errors import ConfigDatabaseError
from emm_pipeline.http_access.asgi import RefusedError, header
from emm_pipeline.web.security.sessions import COOKIE

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from emm_pipeline.http_access.asgi import Scope
    from emm_pipeline.web.security.accounts import Accounts
    from emm_pipeline.web.security.sessions import Session, Sessions

UNAUTHORIZED = 401
TOKEN_PREFIX = "emm_"  # noqa: S105  # the beginning of every token, so that it is recognized in a leak
LOCAL = "this machine"
"""The name, in the log of changes, of whoever uses the page without a login."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a request. `session` is None for a program; `new_cookie` is the id of a session that just began."""

    name: str
    may_change: bool
    address: str = "unknown"
    session: Session | None = None
    new_cookie: str | None = None

    @property
    def csrf(self) -> str:
        """The CSRF token of its session."""
        return self.session.csrf if self.session else ""

    def at(self, address: str) -> Caller:
        """Return the caller with its address."""
        return replace(self, address=address)


class Callers:
    """Finds the sender of a request.

    Args:
        engine: the configuration database, with the digests of tokens.
        sessions: the sessions of browsers.
        accounts: the accounts; None if no login is required, which is possible on loopback only.
    """

    def __init__(self, engine: Engine, sessions: Sessions, accounts: Accounts | None) -> None:
        self._engine = engine
        self.sessions = sessions
        self.accounts = accounts

    def find(self, scope: Scope) -> Caller | None:
        """Return the sender of a request; None if it has no login. It blocks, because it reads the database.

        Raises:
            RefusedError: The request has a token that is not valid.
        """
        authorization = header(scope, b"authorization")
        if authorization:
            return self._program(authorization)
        id_ = session_id(scope)
        session = self.sessions.find(id_) if id_ else None
        if self.accounts is None:
            new = None
            if session is None:
                new, session = self.sessions.begin(LOCAL, "", may_change=True)
            return Caller(LOCAL, may_change=True, session=session, new_cookie=new)
        if session is None or session.account == LOCAL:
            return None
        # Without the database nothing can be changed, but the page still shows what has failed.
        with suppress(ConfigDatabaseError):
            if not self.accounts.is_current(session.account, session.login):
                self.sessions.end_all(session.account)
                return None
        return Caller(session.account, session.may_change, session=session)

    def _program(self, authorization: str) -> Caller:
        scheme, _, token = authorization.partition(" ")
        digest = token_digest(token.strip())
        known = use_token(self._engine, digest) if scheme.lower() == "bearer" else None
        if known is None:
            reason = "the token is not valid: create one on the page Programs, and send it as: Authorization: Bearer …"
            raise RefusedError(UNAUTHORIZED, reason, (b"www-authenticate", b'Bearer realm="EMM"'))
        return Caller(f"token {known.name}", known.may_change)


def session_id(scope: Scope) -> str:
    """Return the id in the cookie of the session; an empty text if there is none."""
    for part in header(scope, b"cookie").split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value
    return ""


def token_digest(token: str) -> str:
    """Return what the database contains instead of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def create_token(engine: Engine, name: str, *, may_change: bool, created_by: str) -> str:
    """Create a token for a program and return it; it cannot be shown again."""
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    add_token(engine, name, token_digest(token), may_change=may_change, created_by=created_by)
    return token


def same(given: str, wanted: str) -> bool:
    """Compare two tokens in constant time; an empty one equals none."""
    return bool(wanted) and hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())
