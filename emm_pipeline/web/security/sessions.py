"""Sessions of browsers, in the memory of this process: a restart ends them."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

COOKIE = "emm_session"
IDLE_S, LIFETIME_S = 12 * 3600.0, 7 * 24 * 3600.0
"""A session ends after this time (s) without a request, and after this time at the latest."""

_MAX_SESSIONS = 1000
"""Maximum number of sessions; beyond it, the one that was not used for longest ends."""


@dataclass(slots=True)
class Session:
    """A browser's session. Each request that changes something must contain its CSRF token.

    `login` identifies the password with which it began; the session ends when the account has another one.
    """

    account: str
    may_change: bool
    login: str
    csrf: str
    began: float
    used: float


class Sessions:
    """Creates and finds sessions. Only digests of their ids are kept.

    Args:
        clock: a monotonic clock in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, account: str, login: str, *, may_change: bool) -> tuple[str, Session]:
        """Begin a session; return its id, which only the browser's cookie contains, and the session."""
        id_, now = secrets.token_urlsafe(32), self._clock()
        session = Session(account, may_change, login, secrets.token_urlsafe(32), now, now)
        with self._lock:
            self._sessions[_digest(id_)] = session
            while len(self._sessions) > _MAX_SESSIONS:
                self._sessions.popitem(last=False)
        return id_, session

    def find(self, id_: str) -> Session | None:
        """Return the session with this id, if it has not ended, and note that it is used."""
        key, now = _digest(id_), self._clock()
        with self._lock:
            session = self._sessions.get(key)
            if session is None:
                return None
            if now - session.used > IDLE_S or now - session.began > LIFETIME_S:
                del self._sessions[key]
                return None
            session.used = now
            self._sessions.move_to_end(key)
            return session

    def end(self, id_: str) -> None:
        """End a session. Unknown ids are ignored."""
        with self._lock:
            self._sessions.pop(_digest(id_), None)

    def end_all(self, account: str) -> None:
        """End all sessions of an account, because its password has changed."""
        with self._lock:
            for key in [key for key, session in self._sessions.items() if session.account == account]:
                del self._sessions[key]


def _digest(id_: str) -> str:
    return hashlib.sha256(id_.encode()).hexdigest()
