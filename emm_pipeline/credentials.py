"""Credentials: the examples in config/.env.dev, and random ones that replace them.

Uses only Python's standard library, so that `make secrets` needs no installed package.
"""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

PUBLISHED = {
    "POSTGRES_PASSWORD": "example_postgres_password",
    "INFLUXDB_TOKEN": "example_influxdb_token",
    "DOCKER_INFLUXDB_INIT_PASSWORD": "example_influxdb_password",
    "DOCKER_INFLUXDB_INIT_ADMIN_TOKEN": "example_influxdb_token",
    "GF_SECURITY_ADMIN_PASSWORD": "example_grafana_password",
    "REDIS_PASSWORD": "example_redis_password",
    "DAGSTER_LOGIN_PASSWORD": "example_dagster_password",
    "WEB_LOGIN_PASSWORD": "example_web_password",
}
"""The credentials of config/.env.dev, which are published."""

EXAMPLES = frozenset(PUBLISHED.values())
"""Values that count as not set."""

# Matches up to the last @, because a password may contain an unescaped @, a slash or a question mark.
_USER = re.compile(r"^(\w+://|).*@", re.ASCII | re.DOTALL)
_QUERY = re.compile(r"([?#]).+", re.DOTALL)

_HEADER = "# Random credentials, created by `make secrets`; they override config/.env.dev. Do not commit this file."


def example_names(values: Mapping[str, str]) -> list[str]:
    """Return the variables that still have an example credential."""
    return sorted(name for name, value in values.items() if value in EXAMPLES)


def is_loopback(address: str) -> bool:
    """Return whether only this machine can reach an address; of all names, only localhost counts as such."""
    try:
        return ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return address == "localhost"


def random_credential() -> str:
    """Return a random value of 256 bits: letters, digits, `-` and `_`; the first is a letter or a digit."""
    while (value := secrets.token_urlsafe(32)).startswith(("-", "_")):
        pass
    return value


def hide_credentials(url: str) -> str:
    """Return a URL with `***` in place of user, password and query. Any text is treated as a URL."""
    return _QUERY.sub(r"\1***", _USER.sub(r"\1***@", url))


def hide_url(message: str, url: str) -> str:
    """Return another program's message about a URL, with the URL's credentials hidden."""
    return message.replace(url, hide_credentials(url)) if url else message


def random_credentials(examples: Mapping[str, str]) -> dict[str, str]:
    """Return a random value of 256 bits for each example credential; equal examples get equal values.

    The values contain only letters, digits, `-` and `_`, which have no special meaning in env files, URLs and shells.
    """
    names = example_names(examples)
    made = {value: random_credential() for value in {examples[name] for name in names}}
    return {name: made[examples[name]] for name in names}


def assignments(lines: Iterable[str]) -> dict[str, str]:
    """Return the variables of an env file's lines."""
    pairs = (line.split("=", 1) for line in lines if "=" in line and not line.lstrip().startswith("#"))
    return {name.strip(): value.strip() for name, value in pairs}


def write_secrets(example_file: Path, file: Path, *, force: bool = False) -> list[str]:
    """Write random credentials to `file`, with mode 600; its other lines are not changed.

    Existing credentials are kept, unless `force` is given: only those that are missing are added.

    Returns:
        The names of the added variables.

    Raises:
        FileExistsError: The file already has all credentials, which the message names, and `force` is not given.
    """
    examples = assignments(example_file.read_text(encoding="utf-8").splitlines())
    before = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    made = random_credentials(examples)
    kept = {} if force else {name: value for name, value in assignments(before).items() if name in made}
    shared = {examples[name]: value for name, value in kept.items()}
    new = {name: shared.get(examples[name], value) for name, value in made.items() if name not in kept}
    if not new:
        raise FileExistsError(f"{file} already has credentials: {', '.join(sorted(kept))}")
    others = [line for line in before if line != _HEADER and not set(assignments([line])) & set(made)]
    lines = [*others, _HEADER, *(f"{name}={value}" for name, value in (kept | new).items())]
    write_file(file, "".join(f"{line}\n" for line in lines))
    return list(new)


def write_file(file: Path, text: str, mode: int = 0o600) -> None:
    """Replace a file atomically and durably. At no moment can users read it that `mode` does not allow.

    A file that root writes belongs to the owner of its folder, whose programs must be able to read and replace it.
    """
    new = file.with_name(f".{file.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as stream:
        os.fchmod(stream.fileno(), mode)
        if os.geteuid() == 0:
            owner = file.parent.stat()
            os.fchown(stream.fileno(), owner.st_uid, owner.st_gid)
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(file)
