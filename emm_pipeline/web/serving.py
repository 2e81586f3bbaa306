"""Serve the page until a signal ends the process."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from emm_pipeline.allocator import use_one_arena
from emm_pipeline.credentials import is_loopback
from emm_pipeline.errors import ConfigurationError
from emm_pipeline.http_access.serving import serve_until_signal
from emm_pipeline.web.app import build_app
from emm_pipeline.web.site import open_site

if TYPE_CHECKING:
    from collections.abc import Callable

    from emm_pipeline.settings import Settings

_END_WITHIN_S = 3


def serve(settings: Callable[[], Settings], host: str, port: int, *, needs_login: bool) -> None:
    """Serve pages, API and metrics.

    Args:
        settings: returns the present settings.
        host: the address to listen at.
        port: the port to listen at.
        needs_login: whether people must log in, and programs need a token.

    Raises:
        ConfigurationError: No login is required, but other machines can reach the address; or no password is set.
    """
    if not needs_login and not is_loopback(host):
        raise ConfigurationError(
            f"other machines can reach --host {host}: --no-login is possible with --host 127.0.0.1 only"
        )
    if needs_login and not settings().web_login_password.get_secret_value():
        raise ConfigurationError(
            "set WEB_LOGIN_PASSWORD, the password of the page (the example password counts as not set), for example "
            "in config/.env; `make secrets` writes random ones"
        )
    use_one_arena()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    with open_site(settings, needs_login=needs_login) as site:
        serve_until_signal(
            build_app(site),
            host=host,
            port=port,
            log_level="warning",
            server_header=False,
            proxy_headers=False,  # `ForwardedClient` decides whose headers are trusted
            timeout_graceful_shutdown=_END_WITHIN_S,
        )
