"""Credentials: the example ones of config/.env.dev, and random ones in their place.

Python's own library only, so that `make secrets` needs nothing installed.
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
}
"""The credentials of config/.env.dev, which everybody knows."""

EXAMPLES = frozenset(PUBLISHED.values())
"""Whoever sets one of them has set nothing."""

# Up to the last @, since a password may hold one that is not escaped, and a slash or a question mark, too.
_USER = re.compile(r"^(\w+://|).*@", re.ASCII | re.DOTALL)
_QUERY = re.compile(r"([?#]).+", re.DOTALL)

_HEADER = "# Random credentials, made by `make secrets`. They come before those of config/.env.dev; not for git."


def example_names(values: Mapping[str, str]) -> list[str]:
    """Return the variables that still have an example credential."""
    return sorted(name for name, value in values.items() if value in EXAMPLES)


def is_loopback(address: str) -> bool:
    """Return whether only this machine reaches what listens on an address; of a name, only localhost is known to be."""
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
    """Return a URL as it may be shown: `***` in place of user, password and query. Any text is taken for a URL."""
    return _QUERY.sub(r"\1***", _USER.sub(r"\1***@", url))


def hide_url(message: str, url: str) -> str:
    """Return another program's message about a URL without what `hide_credentials` hides of it."""
    return message.replace(url, hide_credentials(url)) if url else message


def random_credentials(examples: Mapping[str, str]) -> dict[str, str]:
    """Return a random value of 256 bits for each example credential; what was the same in two stays the same.

    Letters, digits, `-` and `_` only: nothing in an env file, a URL or a shell has a meaning of its own.
    """
    names = example_names(examples)
    made = {value: random_credential() for value in {examples[name] for name in names}}
    return {name: made[examples[name]] for name in names}


def assignments(lines: Iterable[str]) -> dict[str, str]:
    """Return the variables of an env file's lines."""
    pairs = (line.split("=", 1) for line in lines if "=" in line and not line.lstrip().startswith("#"))
    return {name.strip(): value.strip() for name, value in pairs}


def write_secrets(example_file: Path, file: Path, *, force: bool = False) -> list[str]:
    """Put random credentials into `file`, with mode 600; its other lines stay as they are.

    Those that are there stay too, unless `force` is given: an older file gets what a newer version has more of.

    Returns:
        The names of the variables that are new.

    Raises:
        FileExistsError: The file has all of them already, and `force` is not given; names them.
    """
    examples = assignments(example_file.read_text(encoding="utf-8").splitlines())
    before = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    made = random_credentials(examples)
    kept = {} if force else {name: value for name, value in assignments(before).items() if name in made}
    shared = {examples[name]: value for name, value in kept.items()}
    new = {name: shared.get(examples[name], value) for name, value in made.items() if name not in kept}
    if not new:
        raise FileExistsError(f"{file} has credentials already: {', '.join(sorted(kept))}")
    others = [line for line in before if line != _HEADER and not set(assignments([line])) & set(made)]
    lines = [*others, _HEADER, *(f"{name}={value}" for name, value in (kept | new).items())]
    write_file(file, "".join(f"{line}\n" for line in lines))
    return list(new)


def write_file(file: Path, text: str, mode: int = 0o600) -> None:
    """Replace a file as a whole, durably. Only the users that `mode` allows can read it, at any moment."""
    new = file.with_name(f".{file.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as stream:
        os.fchmod(stream.fileno(), mode)
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(file)
