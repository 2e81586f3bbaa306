"""The folders with the services' credentials; each service has its own volume, which no other service can read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emm_pipeline.credentials import write_file
from emm_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from emm_pipeline.access.vault import Vault

BEFORE_START = {
    "postgres": ("POSTGRES_PASSWORD",),
    "influxdb": ("DOCKER_INFLUXDB_INIT_PASSWORD", "DOCKER_INFLUXDB_INIT_ADMIN_TOKEN"),
    "grafana": ("GF_SECURITY_ADMIN_PASSWORD",),
    "redis": ("REDIS_PASSWORD",),
    "dagster": ("DAGSTER_LOGIN_PASSWORD", "REDIS_PASSWORD"),
    "web": ("DAGSTER_LOGIN_PASSWORD", "WEB_LOGIN_PASSWORD"),
    "pipeline": ("REDIS_PASSWORD",),
}
"""For each folder, the credentials that must exist when its service starts."""

_READABLE = 0o444
"""Readable by all, because the images' programs run as other users; only the volume's service can reach the file."""


class AccessFolders:
    """The folders, below one that holds a mount for each.

    Args:
        folder: /run/emm in the stack.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def secrets(self) -> Path:
        """The folder of the vault."""
        return self.folder / "secrets"

    def write(self, service: str, values: Mapping[str, str]) -> None:
        """Write each value to a file named after its variable, atomically, unless the file already has this content.

        Raises:
            ConfigurationError: the folder cannot be written.
        """
        for name, value in values.items():
            file = self.folder / service / name
            try:
                file.parent.mkdir(exist_ok=True)
                if not file.exists() or file.read_text(encoding="utf-8") != value:
                    write_file(file, value, _READABLE)
            except OSError as err:
                raise ConfigurationError(f"{file} cannot be written: {err}") from None

    def read(self, service: str, name: str) -> str:
        """Return a file's text; an empty text if the file does not exist."""
        try:
            return (self.folder / service / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""

    def write_before_start(self, vault: Vault) -> None:
        """Write the credentials that services need when they start; generate those that the user has not set."""
        for service, names in BEFORE_START.items():
            self.write(service, {name: vault.value(name) for name in names})
