"""The stack's own credentials, in one file that only `credentials`, `check`, `init` and `backup` can read."""

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
    "WEB_LOGIN_PASSWORD",
)
"""The variables of config/.env.dev that get a random value if the user has not set them."""

_IN_SERVERS = ("POSTGRES_PASSWORD", "DOCKER_INFLUXDB_INIT_PASSWORD", "DOCKER_INFLUXDB_INIT_ADMIN_TOKEN")
"""Credentials that a restore does not change in the servers."""

ROLES = ("OWNER_PASSWORD", "PIPELINE_PASSWORD", "DAGSTER_PASSWORD", "READER_PASSWORD")
"""Passwords of PostgreSQL roles that only the stack itself uses, in the order of `postgres.Roles`."""


class Vault:
    """The current credentials, the previous ones that servers may still have, and those replaced by rotation.

    The current value is the one that the user has set. If the user has set none, or a published example, or a value
    that rotation has replaced, it is a generated one.

    Args:
        folder: the folder of the file; only its owner can read it.
        given: every variable that the user has set.
    """

    def __init__(self, folder: Path, given: Mapping[str, str]) -> None:
        self._file = folder / "credentials.json"
        self._given = given

    def value(self, name: str) -> str:
        """Return the current credential; generate it if there is none."""
        if self.is_given(name):
            return self._given[name]
        with self._changed() as content:
            value: str = content["generated"].setdefault(name, random_credential())
        return value

    def optional(self, name: str) -> str:
        """Return the user's own value, or the one with which rotation replaced it; empty if there is none."""
        return self._given[name] if self.is_given(name) else str(self._content()["generated"].get(name, ""))

    def is_given(self, name: str) -> bool:
        """Whether the user's own value is the current one."""
        value = self._given.get(name, "")
        superseded = self._content()["superseded"].get(name, [])
        return bool(value) and value not in EXAMPLES and _digest(value) not in superseded

    def was_ever(self, name: str, value: str) -> bool:
        """Whether the variable has this value, or had it before."""
        superseded = self._content()["superseded"].get(name, [])
        return value in {self.optional(name), self._given.get(name)} or _digest(value) in superseded

    def older(self, name: str) -> list[str]:
        """Return the previous values that a server may still have, the most likely one first."""
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
        """Record that a server now accepts this value."""
        with self._changed() as content:
            content["applied"][name] = value

    def replace(self, name: str, value: str) -> None:
        """Make `value` the current one. From now on, the previous value counts as not set, even if the user sets it."""
        before = self.value(name)
        with self._changed() as content:
            content["superseded"].setdefault(name, []).append(_digest(before))
            content["generated"][name] = value
            content["applied"].setdefault(name, before)

    def note(self, name: str) -> Any:
        """Return the value recorded with `keep` under this name; None if there is none."""
        return self._content()["notes"].get(name)

    def keep(self, name: str, note: Any) -> None:
        """Record a value that is not a credential, such as the id of a token."""
        with self._changed() as content:
            content["notes"][name] = note

    def export(self) -> dict[str, Any]:
        """Return everything for a backup."""
        return self._content()

    def adopt(self, saved: Mapping[str, Any]) -> None:
        """Take the credentials of a backup. The servers still have the present ones, and get the others from `init`.

        Notes are about objects in servers, such as tokens, which the restored servers do not have.
        """
        present = {name: self.value(name) for name in CREDENTIALS}
        with self._changed() as content:
            content["generated"] = dict(saved["generated"])
            content["superseded"] = dict(saved["superseded"])
            content["applied"] = {**saved["applied"], **{name: present[name] for name in _IN_SERVERS}}
            content["notes"] = {}

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
