"""Report variables that EMM does not read, but that someone may have meant as one of its settings."""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

from dotenv import dotenv_values

from emm_pipeline.cli.output import note
from emm_pipeline.settings import ENV_FILES, Settings

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_INSTEAD = {
    "INFLUXDB_URL": ("INFLUX_URL", "INFLUX_HOST", "INFLUX_PORT", "INFLUXDB_HOST", "INFLUXDB_PORT"),
    "INFLUXDB_BUCKET": ("INFLUX_BUCKET", "INFLUX_DB", "INFLUX_DATABASE", "INFLUXDB_DB", "INFLUXDB_DATABASE"),
    "INFLUXDB_ORG": ("INFLUX_ORG",),
    "INFLUXDB_TOKEN": (
        *("INFLUX_TOKEN", "INFLUX_USER", "INFLUX_USERNAME", "INFLUX_PASSWORD"),
        *("INFLUXDB_USER", "INFLUXDB_USERNAME", "INFLUXDB_PASSWORD", "INFLUXDB_USER_PASSWORD"),
        *("INFLUXDB_ADMIN_USER", "INFLUXDB_ADMIN_PASSWORD"),
    ),
    "POSTGRES_DB": ("POSTGRES_DATABASE", "POSTGRES_DBNAME", "PGDATABASE"),
    "POSTGRES_HOST": ("POSTGRES_URL", "PGHOST"),
    "POSTGRES_PASSWORD": ("POSTGRES_PASS", "PGPASSWORD"),
    "POSTGRES_USER": ("POSTGRES_USERNAME", "PGUSER"),
}
_FORMER = {former: present for present, names in _INSTEAD.items() for former in names}
"""Names of other versions and programs, and the setting that has taken their place."""

_HINTS = {
    "INFLUXDB_URL": " (http://host:port)",
    "INFLUXDB_BUCKET": " (1.8: database/retention_policy)",
    "INFLUXDB_TOKEN": " (1.8: user:password)",
}
_OTHERS = ("GF_", "DOCKER_INFLUXDB_INIT_", "COMPOSE_")
"""Beginnings of the names of other programs' variables, which the stack passes on."""
_NOT_IN_THE_FILE = {
    *("COMPOSE_PROFILES", "COMPOSE_PROJECT_NAME", "DAGSTER_HOME", "SERIAL_DEVICE", "SERIAL_GROUP"),
    *(f"{image}_IMAGE" for image in ("POSTGRES", "CADDY", "PYTHON", "INFLUXDB", "GRAFANA", "REDIS")),
}
_ALIKE = 0.85


def report_unknown_variables(env_files: Iterable[Path], *, environment: bool) -> None:
    """Print a warning on stderr for each variable in `config/.env` and `env_files` that may be meant as a setting.

    Args:
        env_files: further files with settings.
        environment: whether the environment is searched as well.
    """
    for warning in unknown_variables(env_files, environment=environment):
        note(f"warning: {warning}")


def unknown_variables(env_files: Iterable[Path], *, environment: bool) -> list[str]:
    """Return a message for each variable that EMM does not read, with the setting that was probably meant."""
    known = _known_names()
    found: list[tuple[str, str]] = []
    for file in (*ENV_FILES[1:], *env_files):
        try:
            found += [(str(file), name) for name in dotenv_values(file, encoding="utf-8")]
        except (OSError, UnicodeDecodeError):
            continue  # load_settings reports it
    if environment:
        found += [("the environment", name) for name in sorted(os.environ)]
    meant = ((where, name, _meant(name, known)) for where, name in found if name not in known)
    return [f"{name} in {where} is not a setting; {setting}" for where, name, setting in meant if setting]


def _known_names() -> set[str]:
    try:
        shipped = ENV_FILES[0].read_text(encoding="utf-8")
    except OSError:
        shipped = ""
    names = set(re.findall(r"^(?:# ?)?([A-Z][A-Z0-9_]+)=", shipped, re.MULTILINE))
    return names | {name.upper() for name in Settings.model_fields} | _NOT_IN_THE_FILE


def _meant(name: str, known: set[str]) -> str:
    if setting := _FORMER.get(name.upper()):
        return f"set {setting}{_HINTS.get(setting, '')} instead"
    if name.startswith(_OTHERS):
        return ""
    near = get_close_matches(name.upper(), known, n=1, cutoff=_ALIKE)
    return f"did you mean {near[0]}?" if near else ""
