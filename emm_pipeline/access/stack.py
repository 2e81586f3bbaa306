"""Create, apply and rotate the stack's credentials, in the servers and in the files; for `credentials` and `init`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emm_pipeline.access import redis
from emm_pipeline.access.folders import AccessFolders
from emm_pipeline.access.grafana import GrafanaAccess
from emm_pipeline.access.influxdb import ADMIN_TOKEN, OWN_TOKEN, InfluxAccess
from emm_pipeline.access.postgres import PostgresAccess
from emm_pipeline.access.vault import CREDENTIALS, ROLES, Vault
from emm_pipeline.credentials import random_credential
from emm_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from emm_pipeline.settings import Settings

GRAFANA_URL = "http://grafana:3000"
_GRAFANA, _REDIS = "GF_SECURITY_ADMIN_PASSWORD", "REDIS_PASSWORD"


def create_credentials(folders: AccessFolders, vault: Vault, note: Callable[[str], None]) -> None:
    """Generate the credentials that the user has not set, and write the files that services need at their start.

    It needs no other setting. The service `credentials` gets none, so that a changed one restarts no database.
    `note` is called with the line to print.
    """
    folders.write_before_start(vault)
    generated = [name for name in CREDENTIALS if not vault.is_given(name)]
    if generated:
        note(f"credentials created by the stack: {', '.join(generated)}; the others are yours")
    else:
        note("credentials: you have set all of them")


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

    def apply_postgres(self) -> None:
        """Make PostgreSQL accept the current password, and give each service its own role."""
        if self._postgres.accept_password():
            self._note(f"PostgreSQL: role {self._settings.postgres_user} has a new password")
        roles = self._postgres.make_roles()
        if roles is None:
            self._note(f"PostgreSQL: role {self._settings.postgres_user} is not a superuser: all services use it")
        self._write_roles(roles or self._postgres.single_user())

    def postgres_password(self) -> str:
        """Return the password of POSTGRES_USER, after the server has accepted it."""
        self._postgres.accept_password()
        return self.vault.value("POSTGRES_PASSWORD")

    def influxdb_token(self) -> str:
        """Return a token that may read and write INFLUXDB_BUCKET: the user's own, or the administrator's."""
        own = self.vault.optional(OWN_TOKEN)
        return own if own and not self.vault.was_ever(ADMIN_TOKEN, own) else self.vault.value(ADMIN_TOKEN)

    def apply_influxdb(self) -> None:
        """Make InfluxDB accept the current credentials, and give each service its own token."""
        if self._influxdb.apply():
            self._read_grafanas_token_again()

    def apply_grafana(self) -> None:
        """Replace the password of Grafana's administrator, if the stack knows it, by the current one."""
        current, accepted = self.vault.value(_GRAFANA), self._accepted_by_grafana()
        if accepted is None:
            self._note("Grafana: the administrator has a password that the stack does not know; it is not changed")
            return
        if accepted != current:
            self._grafana.change(accepted, current)
            self._note("Grafana: the administrator has a new password")
        self.vault.applied(_GRAFANA, current)

    def _accepted_by_grafana(self) -> str | None:
        """Return the known password that Grafana accepts; None if it accepts none of them."""
        known = (self.vault.value(_GRAFANA), *self.vault.older(_GRAFANA))
        return next((password for password in known if self._grafana.accepts(password)), None)

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
        """Give Grafana's administrator a new password.

        Raises:
            ConfigurationError: Grafana accepts no password that the stack knows; nothing was changed.
            EmmError: Grafana does not answer, or rejects the change, and still has the previous password.
        """
        accepted = self._accepted_by_grafana()
        if accepted is None:
            raise ConfigurationError(
                f"{self._grafana.where} accepts no password that the stack knows, so nothing was changed. Set the "
                f"administrator's as {_GRAFANA} in config/.env, or give Grafana the one that `emm settings "
                "--show-secrets` prints, and rotate again. After five wrong logins Grafana refuses the right one, "
                "too, for five minutes"
            )
        new = random_credential()
        self.vault.applied(_GRAFANA, accepted)  # if this process ends before Grafana has the new one, apply continues
        self.vault.replace(_GRAFANA, new)
        self.folders.write("grafana", {_GRAFANA: new})
        self._grafana.change(accepted, new)
        self.vault.applied(_GRAFANA, new)
        self._note("Grafana: the administrator has a new password, and the old one is refused")

    def rotate_dagster(self) -> None:
        """Replace the password for Dagster's pages; from the next request the old one is refused."""
        self.vault.replace("DAGSTER_LOGIN_PASSWORD", random_credential())
        for service in ("dagster", "web"):
            self.folders.write(service, {"DAGSTER_LOGIN_PASSWORD": self.vault.value("DAGSTER_LOGIN_PASSWORD")})
        self._note("Dagster: the login has a new password")

    def rotate_web(self) -> None:
        """Replace the first password of the web page; the old one, also one that a person has set, is refused."""
        self.vault.replace("WEB_LOGIN_PASSWORD", random_credential())
        self.folders.write("web", {"WEB_LOGIN_PASSWORD": self.vault.value("WEB_LOGIN_PASSWORD")})
        self._note("web page: the login has a new password, and its sessions have ended")

    def rotate_redis(self) -> None:
        """Replace Redis' password; connected services stay connected, and use the new one after their next start.

        Raises:
            ConfigurationError: Redis accepts no password that the stack knows; nothing was changed.
            EmmError: Redis does not answer, or rejects the change; nothing was changed.
        """
        new = random_credential()
        known = (self.vault.value(_REDIS), *self.vault.older(_REDIS))
        redis.set_password(self._settings.redis_host, self._settings.redis_port, known, new)
        self.vault.replace(_REDIS, new)
        self.vault.applied(_REDIS, new)
        for service in ("redis", "dagster", "pipeline"):
            self.folders.write(service, {_REDIS: new})
        self._note(
            "Redis: it has a new password, and the old one is refused. Restart the services that use it: "
            "docker compose restart worker daemon webserver"
        )

    def _write_roles(self, roles: Mapping[str, Mapping[str, str]]) -> None:
        services = {"secrets/owner": "owner", "pipeline": "pipeline", "dagster": "dagster", "mqtt": "reader"}
        services["web"] = "pipeline"
        for folder, role in services.items():
            self.folders.write(folder, roles[role])

    def _read_grafanas_token_again(self) -> None:
        if self._grafana.read_token_again(self.vault.value(_GRAFANA)):
            self._note("Grafana: reads InfluxDB with the new token")
        else:
            self._note("Grafana: it reads the new token at its start; if it is running: docker compose restart grafana")
