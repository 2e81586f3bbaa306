"""Find the client of a request that was sent through a proxy."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from typing import TYPE_CHECKING

from emm_pipeline.http_access.asgi import header, peer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from emm_pipeline.http_access.asgi import Scope

_KEPT_S = 5.0
"""Time (s) for which resolved addresses of proxies are cached: few look-ups, and a restarted proxy is found soon."""


class ForwardedClient:
    """Return the client's address: the one that a trusted proxy reports, or that of the connection.

    Args:
        proxies: names and addresses of proxies whose X-Forwarded-For is trusted. Its last address is the one that the
            proxy itself saw; the client can set those before it.
        clock: a monotonic clock in seconds.
    """

    def __init__(self, proxies: Collection[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._proxies = proxies
        self._clock = clock
        self._addresses: set[str] = set()
        self._until = float("-inf")

    async def __call__(self, scope: Scope) -> str:
        """Return the client's address."""
        sender = peer(scope)
        named = header(scope, b"x-forwarded-for").rpartition(",")[2].strip()
        if not named or sender not in await self._trusted():
            return sender
        try:
            return str(ipaddress.ip_address(named))
        except ValueError:
            return sender

    async def is_encrypted(self, scope: Scope) -> bool:
        """Whether the client's connection uses TLS: this one, or, as a trusted proxy reports, that to the proxy."""
        if scope.get("scheme") == "https":
            return True
        return header(scope, b"x-forwarded-proto") == "https" and peer(scope) in await self._trusted()

    async def _trusted(self) -> set[str]:
        if self._clock() >= self._until:
            found = await asyncio.gather(*map(_look_up, self._proxies))
            self._addresses = set().union(*found)
            self._until = self._clock() + _KEPT_S
        return self._addresses


async def _look_up(name: str) -> set[str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return set()
    return {str(address[0]) for *_, address in found}
