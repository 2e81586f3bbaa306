"""Dagster's webserver, protected by `guard`."""

from __future__ import annotations

import asyncio
import logging
import socket
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import uvicorn
from dagster import DagsterInstance
from dagster_webserver.app import create_app_from_workspace_process_context

from emm_pipeline.credentials import is_loopback
from emm_pipeline.dagster_ext.garbage import collect_every_minute
from emm_pipeline.dagster_ext.guard import Guard
from emm_pipeline.dagster_ext.internals import open_workspace
from emm_pipeline.errors import ConfigurationError
from emm_pipeline.settings import Settings, current_settings

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from pathlib import Path

    from starlette.applications import Starlette

STATEMENT_TIMEOUT_MS = 15_000
PROXY = "proxy"
"""Host name of the stack's proxy, whose header about the client of a request is trusted."""


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
    with DagsterInstance.get() as instance:
        instance.optimize_for_webserver(STATEMENT_TIMEOUT_MS, -1, 20)
        with open_workspace(instance, workspace, version("dagster-webserver")) as context:
            app = create_app_from_workspace_process_context(context)
            collect_every_minute()
            uvicorn.run(guard(app, settings, needs_login=guarded), host=host, port=port, log_level="warning")


def guard(app: Starlette, settings: Settings, *, needs_login: bool) -> Guard:
    """Wrap Dagster's application: no login is required if it can be reached from this machine only."""
    names = {name.strip().lower() for name in settings.emm_hosts.split(",")} - {""}
    if not needs_login:
        return Guard(app, names, any_address=False, login=None)
    return Guard(
        app, names | {settings.emm_proxy_host.lower()}, any_address=True, login=_login, client_of=_ClientOf(PROXY)
    )


def _login() -> tuple[str, str]:
    settings = current_settings()
    return settings.dagster_login_user, settings.dagster_login_password.get_secret_value()


class _ClientOf:
    """Returns the client of a request: the address that the proxy reports, or that of the connection without proxy."""

    def __init__(self, proxy: str) -> None:
        self._proxy = proxy

    async def __call__(self, scope: MutableMapping[str, Any]) -> str:
        peer = str(scope["client"][0]) if scope.get("client") else "unknown"
        forwarded = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
        if forwarded and peer in await self._addresses():
            return str(forwarded[-1].rpartition(",")[2].strip())
        return peer

    async def _addresses(self) -> set[str]:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(self._proxy, None, type=socket.SOCK_STREAM)
        except OSError:
            return set()
        return {str(address[0]) for *_, address in found}
