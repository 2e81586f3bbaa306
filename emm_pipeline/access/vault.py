"""The stack's own credentials, in one file that only `check` and `init` can read."""

from __future__ import annotations

import fcntl
import hashlib
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from emm_pipeline.credentials import EXAMPLES, PUBLISHED, random_credential, write_file
from emm_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

CREDENTIALS = (
    "POSTGRES_PASSWORD",
    "DOCKER_INFLUXDB_INIT_PASSWORD",
    "DOCKER_INFLUXDB_INIT_ADMIN_TOKEN",
    "GF_SECURITY_ADMIN_PASSWORD",
    "REDIS_PASSWORD",
    "DAGSTER_LOGIN_PASSWORD",
)
"""The variables of config/.env.dev that get a random value while the user has not set them."""

ROLES = ("OWNER_PASSWORD", "PIPELINE_PASSWORD", "DAGSTER_PASSWORD")
"""Passwords of PostgreSQL roles that only the stack itself uses."""


class Vault:
    """Which credential is in force, which the servers had before, and which were rotated away.

    A value that the user has set is in force, unless it is a published example or was rotated away: then, and where
    none is set, a generated one is.

    Args:
        folder: where the file is kept; only its owner may look into it.
        given: every variable as the user has set it.
    """

    def __init__(self, folder: Path, given: Mapping[str, str]) -> None:
        self._file = folder / "credentials.json"
        self._given = given

    def value(self, name: str) -> str:
        """Return the credential in force; generates it where there is none."""
        if self.is_given(name):
            return self._given[name]
        with self._changed() as content:
            value: str = content["generated"].setdefault(name, random_credential())
        return value

    def optional(self, name: str) -> str:
        """Return the user's own value, or the one that rotation has put in its place; empty where there is none."""
        return self._given[name] if self.is_given(name) else str(self._content()["generated"].get(name, ""))

    def is_given(self, name: str) -> bool:
        """Whether the user's own value is in force."""
        value = self._given.get(name, "")
        superseded = self._content()["superseded"].get(name, [])
        return bool(value) and value not in EXAMPLES and _digest(value) not in superseded

    def was_ever(self, name: str, value: str) -> bool:
        """Whether the variable has this value, or had it before it was replaced."""
        superseded = self._content()["superseded"].get(name, [])
        return value in {self.optional(name), self._given.get(name)} or _digest(value) in superseded

    def older(self, name: str) -> list[str]:
        """Return the values that a server may still have instead of the one in force, the likeliest first."""
        content = self._content()
        values = [
            content["applied"].get(name),
            content["generated"].get(name),
            self._given.get(name),
            PUBLISHED.get(name),
        ]
        current = self.value(name)
        return [value for value in dict.fromkeys(values) if value and value != current]

    def applied(self, name: str, value: str) -> None:
        """Note what a server accepts now."""
        with self._changed() as content:
            content["applied"][name] = value

    def replace(self, name: str, value: str) -> None:
        """Put `value` in force, and let the one before count as not set from now on, whoever had set it."""
        before = self.value(name)
        with self._changed() as content:
            content["superseded"].setdefault(name, []).append(_digest(before))
            content["generated"][name] = value
            content["applied"].setdefault(name, before)

    def note(self, name: str) -> Any:
        """Return what was noted under a name; None if nothing was."""
        return self._content()["notes"].get(name)

    def keep(self, name: str, note: Any) -> None:
        """Note something, such as the id of a token."""
        with self._changed() as content:
            content["notes"][name] = note

    def _content(self) -> dict[str, Any]:
        empty: dict[str, Any] = {"generated": {}, "applied": {}, "superseded": {}, "notes": {}}
        try:
            found: dict[str, Any] = json.loads(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return empty
        except (OSError, ValueError) as err:
            raise ConfigurationError(f"the stack's credentials in {self._file} cannot be read: {err}") from None
        return empty | found

    @contextmanager
    def _changed(self) -> Iterator[dict[str, Any]]:
        try:
            lock = self._file.with_name("lock").open("w")
        except OSError as err:
            raise ConfigurationError(f"the stack's credentials in {self._file} cannot be changed: {err}") from None
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            content = self._content()
            before = json.dumps(content)
            yield content
            if json.dumps(content) != before:
                write_file(self._file, json.dumps(content, indent=1))


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()
