"""The folders in which the stack's services find their credentials: a volume each, which no other service is given."""

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
    "pipeline": ("REDIS_PASSWORD",),
}
"""By folder: the credentials that its service must find when it starts."""

_READABLE = 0o444
"""The images' programs run as other users than ours; the volume decides who has the file at all."""


class AccessFolders:
    """The folders, below one that holds a mount for each.

    Args:
        folder: /run/emm in the stack.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def secrets(self) -> Path:
        """Where the vault is."""
        return self.folder / "secrets"

    def write(self, service: str, values: Mapping[str, str]) -> None:
        """Write a file for each value, named as its variable, where it is not there already; each whole at once.

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
        """Return a file's text; an empty one where there is none."""
        try:
            return (self.folder / service / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""

    def write_before_start(self, vault: Vault) -> None:
        """Write what the services must find when they start; generates what the user has not set."""
        for service, names in BEFORE_START.items():
            self.write(service, {name: vault.value(name) for name in names})
