"""Dagster's webserver, protected by `guard`."""

from __future__ import annotations

import logging
from importlib.metadata import version
from typing import TYPE_CHECKING

from dagster import DagsterInstance
from dagster_webserver.app import create_app_from_workspace_process_context

from emm_pipeline.credentials import is_loopback
from emm_pipeline.dagster_ext.garbage import collect_every_minute
from emm_pipeline.dagster_ext.guard import Guard
from emm_pipeline.dagster_ext.internals import open_workspace
from emm_pipeline.dagster_ext.kept_channels import keep_channels
from emm_pipeline.dagster_ext.login import Login
from emm_pipeline.errors import ConfigurationError
from emm_pipeline.http_access.forwarded import ForwardedClient
from emm_pipeline.http_access.origins import names_in
from emm_pipeline.http_access.serving import serve_until_signal
from emm_pipeline.settings import Settings, current_settings

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.applications import Starlette

STATEMENT_TIMEOUT_MS = 15_000


def serve(workspace: Path, host: str, port: int) -> None:
    """Serve Dagster's pages and API until a signal ends the process. DAGSTER_HOME is the folder of the instance.

    Raises:
        ConfigurationError: other machines can reach the address, and no password is set.
    """
    settings = current_settings()
    guarded = not is_loopback(host)
    if guarded and not settings.dagster_login_password.get_secret_value():
        raise ConfigurationError(
            f"other machines can reach --host {host}, and Dagster's pages can start and stop everything: set "
            "DAGSTER_LOGIN_PASSWORD (the example password counts as not set), or use --host 127.0.0.1"
        )
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    keep_channels()
    with DagsterInstance.get() as instance:
        instance.optimize_for_webserver(STATEMENT_TIMEOUT_MS, -1, 20)
        with open_workspace(instance, workspace, version("dagster-webserver")) as context:
            app = create_app_from_workspace_process_context(context)
            collect_every_minute()
            # The login decides whose X-Forwarded-For is trusted; uvicorn by itself would trust this machine's.
            serve_until_signal(
                guard(app, settings, needs_login=guarded),
                host=host,
                port=port,
                log_level="warning",
                proxy_headers=False,
            )


def guard(app: Starlette, settings: Settings, *, needs_login: bool) -> Guard:
    """Wrap Dagster's application: no login is required if it can be reached from this machine only."""
    names = names_in(settings.emm_hosts)
    if not needs_login:
        return Guard(app, names, any_address=False, login=None)
    login = Login(_login, ForwardedClient(names_in(settings.emm_trusted_proxies)))
    return Guard(app, names | {settings.emm_proxy_host.lower()}, any_address=True, login=login)


def _login() -> tuple[str, str]:
    settings = current_settings()
    return settings.dagster_login_user, settings.dagster_login_password.get_secret_value()
