"""Accounts and their passwords: that of the settings, and those that a person has set, as argon2id hashes."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from emm_pipeline.config_db.web_state import StoredAccount, load_account, save_account
from emm_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

SHORTEST, LONGEST = 12, 256
"""Number of characters that a new password may have."""

_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
"""The parameters that OWASP recommends for argon2id: 19 MiB, two passes."""
_ONE_AT_A_TIME = threading.Lock()
"""Many simultaneous logins must not take more memory and CPU than one."""


@dataclass(frozen=True, slots=True)
class Account:
    """A person who has logged in. `login` is a digest that changes with the password."""

    name: str
    may_change: bool
    login: str


class Accounts:
    """Checks passwords.

    Args:
        engine: the configuration database, with the passwords that people have set.
        first: returns user and password of the settings: WEB_LOGIN_USER and WEB_LOGIN_PASSWORD.
    """

    def __init__(self, engine: Engine, first: Callable[[], tuple[str, str]]) -> None:
        self._engine = engine
        self._first = first
        self._hashes: dict[str, str] = {}
        self._other = _HASHER.hash(secrets.token_urlsafe())

    def check(self, name: str, password: str) -> Account | None:
        """Return the account with this name and password; None if there is none. Both cases take the same time.

        Raises:
            ConfigDatabaseError: The database cannot be read.
        """
        wanted = self._wanted(name)
        hash_ = wanted.password_hash if wanted else self._other
        is_right = len(password) <= LONGEST and _verify(hash_, password)
        return Account(wanted.name, wanted.may_change, _login(wanted.name, hash_)) if wanted and is_right else None

    def is_current(self, name: str, login: str) -> bool:
        """Whether a session that began with this login may continue: the account still has the same password."""
        wanted = self._wanted(name)
        return wanted is not None and hmac.compare_digest(_login(wanted.name, wanted.password_hash), login)

    def set_password(self, name: str, password: str) -> None:
        """Replace an account's password.

        Raises:
            ConfigurationError: The password is too short or too long, or there is no such account.
        """
        wanted = self._wanted(name)
        if wanted is None:
            raise ConfigurationError(f"there is no account {name!r}")
        user, first = self._first()
        replaces = _digest(first) if name == user else None
        save_account(self._engine, StoredAccount(name, hashed(password), replaces, wanted.may_change))

    def _wanted(self, name: str) -> StoredAccount | None:
        user, first = self._first()
        stored = load_account(self._engine, name) if "\0" not in name else None
        if name != user:
            return stored if stored and stored.replaces is None else None
        if stored and stored.replaces == _digest(first):
            return stored
        return StoredAccount(user, self._hash_of(first), None, may_change=True) if first else None

    def _hash_of(self, password: str) -> str:
        """Return the hash of the password of the settings, which is computed once."""
        key = _digest(password)
        if key not in self._hashes:
            self._hashes = {key: _HASHER.hash(password)}
        return self._hashes[key]


def hashed(password: str) -> str:
    """Return the hash of a new password.

    Raises:
        ConfigurationError: It is too short or too long.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise ConfigurationError(f"a password has {SHORTEST} to {LONGEST} characters; this one has {len(password)}")
    return _HASHER.hash(password)


def _verify(hash_: str, password: str) -> bool:
    with _ONE_AT_A_TIME:
        try:
            return _HASHER.verify(hash_, password)
        except (VerificationError, InvalidHashError):
            return False


def _login(name: str, hash_: str) -> str:
    return _digest(f"{name}\0{hash_}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
