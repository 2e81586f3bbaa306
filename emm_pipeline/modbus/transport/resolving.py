"""Looks up host names, each in a thread of its own: one that hangs costs only those who asked for it."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import suppress

from emm_pipeline.event_loop import in_thread


async def resolve(host: str) -> list[str]:
    """Returns the numeric addresses of a host, the preferred one first; a numeric one is its own.

    Raises:
        OSError: The name does not resolve (`socket.gaierror`).
        ValueError: It is no valid name.
    """
    with suppress(ValueError):
        return [str(ipaddress.ip_address(host))]

    def look_up() -> list[str]:
        return [str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]

    return await in_thread(look_up, f"resolve {host}")
