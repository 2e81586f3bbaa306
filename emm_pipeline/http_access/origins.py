"""Check host and origin of a request: pages of other origins must not reach a server through a user's browser."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from emm_pipeline.http_access.asgi import RefusedError, header

if TYPE_CHECKING:
    from collections.abc import Collection

    from emm_pipeline.http_access.asgi import Scope

READS = frozenset({"GET", "HEAD"})
"""Methods that change nothing."""
FORBIDDEN = 403


class Origins:
    """The host names and origins of one server.

    Args:
        hosts: host names under which browsers may open it, besides localhost; lower case, without a port.
        any_address: whether browsers may also open it under any IP address of the machine. (A malicious web page can
            have a host name that resolves to this machine, but not an IP address as its host.)
    """

    def __init__(self, hosts: Collection[str], *, any_address: bool) -> None:
        self._hosts = frozenset(hosts) | {"localhost"}
        self._any_address = any_address

    def check(self, scope: Scope) -> None:
        """Check an HTTP request, or a request to open a WebSocket.

        Raises:
            RefusedError: its host is not one of this server's, or a page of another origin sends it.
        """
        host = header(scope, b"host").lower()
        if not self._is_ours(host):
            raise RefusedError(FORBIDDEN, f"the host {host!r} is not one of this server's: add its name to EMM_HOSTS")
        origin = header(scope, b"origin").lower()
        if origin and _place(origin) != _place(f"//{host}"):
            raise RefusedError(FORBIDDEN, f"requests from pages of {origin!r} are not accepted")
        if not scope["path"].isprintable():
            raise RefusedError(FORBIDDEN, "the path has characters that are not allowed")
        if (
            scope["type"] == "http"
            and scope["method"] not in READS
            and header(scope, b"sec-fetch-site") in {"cross-site", "same-site"}
        ):
            raise RefusedError(FORBIDDEN, "requests from pages of another origin are not accepted")

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in self._hosts:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or self._any_address


def names_in(text: str) -> set[str]:
    """Return names that are separated by commas, in lower case."""
    return {name.strip().lower() for name in text.split(",")} - {""}


def _place(url: str) -> tuple[str, int | None] | None:
    """Return host and port, without the scheme's default port; None for `null` and for invalid URLs."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname:
        return None
    return parts.hostname, None if port in {80, 443} else port
