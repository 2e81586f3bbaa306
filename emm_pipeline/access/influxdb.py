"""InfluxDB's credentials: replace published ones; create a token that can only write and one that can only read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emm_pipeline.access.grafana_files import grafana_files
from emm_pipeline.credentials import hide_credentials, random_credential
from emm_pipeline.errors import ConfigurationError, EmmError
from emm_pipeline.stores.influxdb.administration import InfluxAdministration
from emm_pipeline.stores.influxdb.setup import InfluxSetup, Tokens
from emm_pipeline.stores.influxdb.store import require_access

if TYPE_CHECKING:
    from collections.abc import Callable

    from emm_pipeline.access.folders import AccessFolders
    from emm_pipeline.access.vault import Vault
    from emm_pipeline.settings import Settings

ADMIN_TOKEN = "DOCKER_INFLUXDB_INIT_ADMIN_TOKEN"  # noqa: S105  # the name of a variable
PASSWORD = "DOCKER_INFLUXDB_INIT_PASSWORD"  # noqa: S105
OWN_TOKEN = "INFLUXDB_TOKEN"  # noqa: S105
READ_TOKEN = "INFLUXDB_READ_TOKEN"  # noqa: S105
_TOKEN_IDS, _ADMIN_ID = "influxdb token ids", "influxdb admin token id"


class InfluxAccess:
    """The InfluxDB at INFLUXDB_URL.

    Args:
        settings: its address, and the names of organization and bucket.
        vault: the current credentials.
        folders: the folders from which the pipeline and Grafana read theirs.
        admin_user: DOCKER_INFLUXDB_INIT_USERNAME.
        note: called with each line to print.
    """

    def __init__(
        self,
        settings: Settings,
        vault: Vault,
        folders: AccessFolders,
        admin_user: str,
        note: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._vault = vault
        self._folders = folders
        self._admin_user = admin_user
        self._note = note
        self._server = InfluxAdministration(settings.influxdb_url, settings.influxdb_ca_file)

    def apply(self) -> bool:
        """Make the server accept the current credentials and no examples; return whether Grafana's token changed.

        Raises:
            StoreError: InfluxDB does not answer, or rejects a request.
            ConfigurationError: it accepts no token that the stack has ever had, or lacks organization or bucket.
        """
        settings, own = self._settings, self._own_token()
        if settings.readings_store != "influxdb":
            self._note(f"InfluxDB: nothing to do, because READINGS_STORE is {settings.readings_store}")
            token = self._vault.optional(OWN_TOKEN)
            return self._write(Tokens(token, settings.influxdb_read_token.get_secret_value() or token))
        if own:
            self._note("InfluxDB: INFLUXDB_TOKEN is your own; no tokens are created")
            self._warn_if_refused(own)
            return self._write(Tokens(own, settings.influxdb_read_token.get_secret_value() or own))
        if self._server.is_version_1():
            self._accept_password(version_1=True)
            self._note("InfluxDB: version 1.x has no separate tokens; every service uses the same credential")
            token = self._vault.value(ADMIN_TOKEN)
            self._warn_if_refused(token)
            return self._write(Tokens(token, token))
        admin = self._accept_admin_token()
        self._accept_password(version_1=False, token=admin)
        return self._ensure_tokens(admin)

    def rotate(self, reload: Callable[[], object]) -> None:
        """Set new credentials in the server, in the files and in Grafana (`reload`); then revoke the old ones.

        Raises:
            StoreError: InfluxDB does not answer, or rejects a request.
            ConfigurationError: INFLUXDB_TOKEN is the user's own, which the stack cannot replace, or a part of the
                credentials, which the message names, could not be replaced.
        """
        own = self._own_token()
        version_1 = self._server.is_version_1()
        if own:
            self._rotate_own(own, version_1=version_1)
        elif version_1:
            if not self._rotate_password(version_1=True, token=""):
                raise ConfigurationError(f"{self._unknown_password()}. Nothing was changed")
            token = self._vault.value(ADMIN_TOKEN)
            self._write(Tokens(token, token))
        else:
            self._rotate_tokens(reload)
            return
        reload()

    def _warn_if_refused(self, token: str) -> None:
        """Report a token with which the pipeline could not write. The stack starts all the same: readings wait."""
        settings = self._settings
        try:
            require_access(
                settings.influxdb_url,
                token,
                settings.influxdb_org,
                settings.influxdb_bucket,
                settings.influxdb_ca_file,
            )
        except EmmError as err:
            self._note(f"WARNING: {err}")

    def _own_token(self) -> str:
        """Return the user's INFLUXDB_TOKEN; an empty text if it is, or was before a rotation, the admin token."""
        own = self._vault.optional(OWN_TOKEN)
        return "" if own and self._vault.was_ever(ADMIN_TOKEN, own) else own

    def _rotate_own(self, own: str, *, version_1: bool) -> None:
        user, colon, old = own.partition(":")
        if not (version_1 and colon):
            raise ConfigurationError(
                "INFLUXDB_TOKEN is your own, and the stack cannot replace it: create one in InfluxDB, set it in "
                "config/.env, run `docker compose up -d`, and revoke the old one"
            )
        new = random_credential()
        self._server.set_password_1(user, old, new)
        self._vault.replace(OWN_TOKEN, f"{user}:{new}")
        read = self._settings.influxdb_read_token.get_secret_value()
        self._write(Tokens(f"{user}:{new}", read if read and not read.startswith(f"{user}:") else f"{user}:{new}"))
        self._note(f"InfluxDB: user {user} has a new password; INFLUXDB_TOKEN in config/.env is no longer used")

    def _rotate_tokens(self, reload: Callable[[], object]) -> None:
        before, old_admin = self._existing(), self._accept_admin_token()
        old_id = self._vault.note(_ADMIN_ID)
        made = self._server.make_token(old_admin)
        self._vault.replace(ADMIN_TOKEN, made.text)
        self._vault.keep(_ADMIN_ID, made.id)
        self._folders.write("influxdb", {ADMIN_TOKEN: made.text})
        has_new_password = self._rotate_password(version_1=False, token=made.text)
        setup = self._setup(made.text)
        tokens = setup.make_tokens()
        self._keep(tokens)
        reload()
        if before:
            setup.withdraw(before)
        is_revoked = self._server.revoke(old_admin, using=made.text, known_id=old_id)
        self._vault.applied(ADMIN_TOKEN, made.text)
        self._note("InfluxDB: new tokens for administrator, pipeline and Grafana")
        left = [] if has_new_password else [self._unknown_password()]
        if not is_revoked:
            left.append("InfluxDB does not say which token the administrator had before: revoke that one in InfluxDB")
        if left:
            raise ConfigurationError(f"only a part was rotated: the tokens are new. {'. '.join(left)}")
        self._note("InfluxDB: a new password for the administrator; the old credentials are refused")

    def _unknown_password(self) -> str:
        where = f"InfluxDB at {hide_credentials(self._settings.influxdb_url)}"
        return (
            f"User {self._admin_user} of {where} has a password that the stack does not know, and keeps it: set it as "
            f"{PASSWORD} in config/.env, and rotate again"
        )

    def _rotate_password(self, *, version_1: bool, token: str) -> bool:
        """Give the administrator a new password; return False if the present one is unknown, and do not change it."""
        old, new = self._accept_password(version_1=version_1, token=token), random_credential()
        if old is None:
            return False
        if version_1:
            self._server.set_password_1(self._admin_user, old, new)
        else:
            self._server.set_password(self._admin_user, new, token=token)
        self._vault.replace(PASSWORD, new)
        self._vault.applied(PASSWORD, new)
        self._folders.write("influxdb", {PASSWORD: new})
        return True

    def _accept_admin_token(self) -> str:
        """Return the administrator's token that the server accepts; replace a published one."""
        current, server = self._vault.value(ADMIN_TOKEN), self._server
        if server.accepts_token(current):
            self._vault.applied(ADMIN_TOKEN, current)
            return current
        for old in self._vault.older(ADMIN_TOKEN):
            if server.accepts_token(old):
                made = server.make_token(old)
                self._vault.replace(ADMIN_TOKEN, made.text)
                self._vault.keep(_ADMIN_ID, made.id)
                self._vault.applied(ADMIN_TOKEN, made.text)
                self._folders.write("influxdb", {ADMIN_TOKEN: made.text})
                server.revoke(old, using=made.text)
                self._note("InfluxDB: the administrator has a new token, and the previous one is revoked")
                return made.text
        raise ConfigurationError(
            f"InfluxDB at {self._settings.influxdb_url} accepts neither {ADMIN_TOKEN} nor one that this stack "
            f"had before: set a token of an administrator as {ADMIN_TOKEN} in config/.env"
        )

    def _accept_password(self, *, version_1: bool, token: str = "") -> str | None:
        """Replace the administrator's password, if the stack knows it, by the current one; None if it does not."""
        user, current, server = self._admin_user, self._vault.value(PASSWORD), self._server
        if not server.accepts_password(user, current, version_1=version_1):
            known = (
                old for old in self._vault.older(PASSWORD) if server.accepts_password(user, old, version_1=version_1)
            )
            old = next(known, None)
            if old is None:
                self._note(f"InfluxDB: user {user} has a password that the stack does not know; it is not changed")
                return None
            if version_1:
                server.set_password_1(user, old, current)
            else:
                server.set_password(user, current, token=token)
            self._note(f"InfluxDB: user {user} has a new password")
        self._vault.applied(PASSWORD, current)
        return current

    def _ensure_tokens(self, admin: str) -> bool:
        setup, existing = self._setup(admin), self._existing()
        tokens = setup.ensure_tokens(existing)
        created = "created one token to write and one to read"
        self._note(f"InfluxDB: {'tokens kept' if tokens is existing else created}")
        changed = self._keep(tokens)
        if existing and tokens is not existing:
            setup.withdraw(existing)
        if message := setup.ensure_database():
            self._note(f"InfluxDB: {message}")
        return changed

    def _setup(self, admin: str) -> InfluxSetup:
        settings = self._settings
        return InfluxSetup(
            settings.influxdb_url, admin, settings.influxdb_org, settings.influxdb_bucket, settings.influxdb_ca_file
        )

    def _existing(self) -> Tokens | None:
        """Return the tokens in the files; an earlier version used other names for the files."""
        read = self._folders.read("grafana", "influxdb_token")
        write = self._folders.read("pipeline", OWN_TOKEN) or self._folders.read("pipeline", "influxdb_token")
        return Tokens(write, read, tuple(self._vault.note(_TOKEN_IDS) or ())) if write and read else None

    def _keep(self, tokens: Tokens) -> bool:
        self._vault.keep(_TOKEN_IDS, list(tokens.ids))
        return self._write(tokens)

    def _write(self, tokens: Tokens) -> bool:
        """Write the files of the pipeline, Grafana and the web page; return whether Grafana's token changed."""
        settings = self._settings
        changed = self._folders.read("grafana", "influxdb_token") != tokens.read
        place = {
            "INFLUXDB_URL": settings.influxdb_url,
            "INFLUXDB_ORG": settings.influxdb_org,
            "INFLUXDB_BUCKET": settings.influxdb_bucket,
        }
        self._folders.write("pipeline", {OWN_TOKEN: tokens.write, READ_TOKEN: tokens.read, **place})
        self._folders.write("grafana", grafana_files(settings, tokens.read))
        self._folders.write("web", {"INFLUXDB_READ_TOKEN": tokens.read, **place})
        return changed
