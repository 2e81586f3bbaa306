"""Create, apply and rotate the stack's credentials, in the servers and in the files; used by `check` and `init`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emm_pipeline.access import redis
from emm_pipeline.access.folders import AccessFolders
from emm_pipeline.access.grafana import GrafanaAccess
from emm_pipeline.access.influxdb import InfluxAccess
from emm_pipeline.access.postgres import PostgresAccess
from emm_pipeline.access.vault import CREDENTIALS, ROLES, Vault
from emm_pipeline.credentials import random_credential

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from emm_pipeline.settings import Settings

GRAFANA_URL = "http://grafana:3000"


class StackAccess:
    """The credentials of one stack.

    Args:
        folder: the folder where the volumes are mounted, `/run/emm`.
        settings: the stack's settings, without those in the folders.
        variables: every variable that the user has set, including those of other programs.
        note: called with each line to print.
        grafana_url: Grafana's URL.
    """

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        variables: Mapping[str, str],
        note: Callable[[str], None],
        grafana_url: str = GRAFANA_URL,
    ) -> None:
        self._settings = settings
        self._note = note
        self.folders = AccessFolders(folder)
        self.vault = Vault(self.folders.secrets, variables)
        self._postgres = PostgresAccess(settings, self.vault)
        admin_user = variables.get("DOCKER_INFLUXDB_INIT_USERNAME", "")
        self._influxdb = InfluxAccess(settings, self.vault, self.folders, admin_user, note)
        self._grafana = GrafanaAccess(grafana_url, variables.get("GF_SECURITY_ADMIN_USER") or "admin")

    def create(self) -> None:
        """Generate the credentials that the user has not set, and write the files that services need at their start."""
        self.folders.write_before_start(self.vault)
        generated = [name for name in CREDENTIALS if not self.vault.is_given(name)]
        if generated:
            self._note(f"credentials created by the stack: {', '.join(generated)}; the others are yours")
        else:
            self._note("credentials: you have set all of them")

    def apply_postgres(self) -> None:
        """Make PostgreSQL accept the current password, and give each service its own role."""
        if self._postgres.accept_password():
            self._note(f"PostgreSQL: role {self._settings.postgres_user} has a new password")
        roles = self._postgres.make_roles()
        if roles is None:
            self._note(f"PostgreSQL: role {self._settings.postgres_user} is no superuser: it serves for all, as it is")
        self._write_roles(roles or self._postgres.single_user())

    def apply_influxdb(self) -> None:
        """Make InfluxDB accept the current credentials, and give each service its own token."""
        if self._influxdb.apply():
            self._read_grafanas_token_again()

    def apply_grafana(self) -> None:
        """Replace the password of Grafana's administrator, if the stack knows it, by the current one."""
        name = "GF_SECURITY_ADMIN_PASSWORD"
        current = self.vault.value(name)
        if not self._grafana.accepts(current):
            known = (old for old in self.vault.older(name) if self._grafana.accepts(old))
            old = next(known, None)
            if old is None:
                self._note("Grafana: the administrator has a password that the stack does not know; it is not changed")
                return
            self._grafana.change(old, current)
            self._note("Grafana: the administrator has a new password")
        self.vault.applied(name, current)

    def rotate_postgres(self) -> None:
        """Give every role of the stack, including the administrator, a new password; polling continues."""
        self._postgres.accept_password()
        for name in ("POSTGRES_PASSWORD", *ROLES):
            self.vault.replace(name, random_credential())
        self.folders.write("postgres", {"POSTGRES_PASSWORD": self.vault.value("POSTGRES_PASSWORD")})
        self.apply_postgres()

    def rotate_influxdb(self) -> None:
        """Replace the administrator's credentials, the pipeline's token and Grafana's, and revoke the old ones."""
        self._influxdb.rotate(self._read_grafanas_token_again)

    def rotate_grafana(self) -> None:
        """Give Grafana's administrator a new password."""
        self.vault.replace("GF_SECURITY_ADMIN_PASSWORD", random_credential())
        self.folders.write("grafana", {"GF_SECURITY_ADMIN_PASSWORD": self.vault.value("GF_SECURITY_ADMIN_PASSWORD")})
        self.apply_grafana()

    def rotate_dagster(self) -> None:
        """Replace the password for Dagster's pages; from the next request the old one is refused."""
        self.vault.replace("DAGSTER_LOGIN_PASSWORD", random_credential())
        self.folders.write("dagster", {"DAGSTER_LOGIN_PASSWORD": self.vault.value("DAGSTER_LOGIN_PASSWORD")})
        self._note("Dagster: the login has a new password")

    def rotate_redis(self) -> None:
        """Replace Redis' password; workers use it after their next start."""
        old = self.vault.value("REDIS_PASSWORD")
        new = random_credential()
        redis.set_password(self._settings.redis_host, self._settings.redis_port, old, new)
        self.vault.replace("REDIS_PASSWORD", new)
        for service in ("redis", "dagster", "pipeline"):
            self.folders.write(service, {"REDIS_PASSWORD": new})
        self._note("Redis: the password is new; restart the workers")

    def _write_roles(self, roles: Mapping[str, Mapping[str, str]]) -> None:
        for folder, role in (("secrets/owner", "owner"), ("pipeline", "pipeline"), ("dagster", "dagster")):
            self.folders.write(folder, roles[role])

    def _read_grafanas_token_again(self) -> None:
        if self._grafana.read_token_again(self.vault.value("GF_SECURITY_ADMIN_PASSWORD")):
            self._note("Grafana: reads InfluxDB with the new token")
