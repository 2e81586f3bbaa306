"""Report variables that EMM does not read, but that someone may have meant as one of its settings."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from dotenv import dotenv_values

from emm_pipeline.cli.output import note
from emm_pipeline.cli.showing.effective_settings import shown_path
from emm_pipeline.settings import ENV_FILES, Settings
from emm_pipeline.suggesting import suggestion

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
_OTHERS = ("GF_", "DOCKER_", "COMPOSE_", "VIRTUAL_SERVER_", "EMM_COMMAND")
"""Beginnings of the names of variables that other programs read."""
_NOT_IN_THE_FILE = {
    *("COMPOSE_PROFILES", "COMPOSE_PROJECT_NAME", "DAGSTER_HOME", "SERIAL_DEVICE", "SERIAL_GROUP"),
}
_ALIKE = 0.8


def report_unknown_variables(env_files: Iterable[Path], *, environment: bool) -> None:
    """Print a warning on stderr for each variable in `config/.env` and `env_files` that may be meant as a setting.

    Args:
        env_files: further files with settings.
        environment: whether the environment is searched as well.
    """
    for warning in unknown_variables(env_files, environment=environment):
        note(f"warning: {warning}")


def unknown_variables(env_files: Iterable[Path], *, environment: bool) -> list[str]:
    """Return a message for each variable that EMM does not read, with the setting that was probably meant.

    A file may hold other variables, such as those of a virtual device: these are not reported.
    """
    known = _known_names()
    families = {name.partition("_")[0] for name in known}
    found: list[tuple[str, str]] = []
    for file in (*ENV_FILES[1:], *env_files):
        try:
            names = [name for name in dotenv_values(file, encoding="utf-8") if name not in known]
        except (OSError, UnicodeDecodeError):
            continue  # load_settings reports it
        described = ((name, _meant(name, known)) for name in names)
        found += [
            (f"{shown_path(file)}: EMM has no setting {name}", meant)
            for name, meant in described
            if meant or (name.partition("_")[0] in families and not _is_others(name))
        ]
    if environment:
        names = sorted(set(os.environ) - known)
        found += [
            (f"the environment: EMM has no setting {name}", meant) for name in names if (meant := _meant(name, known))
        ]
    return [f"{message}; {meant}" if meant else message for message, meant in found]


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
    if _is_others(name):
        return ""
    return suggestion(name, known, cutoff=_ALIKE).removeprefix("; ")


def _is_others(name: str) -> bool:
    return name.startswith(_OTHERS) or name.endswith("_IMAGE")
