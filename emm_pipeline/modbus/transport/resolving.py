"""Resolve host names, each in its own thread, so that a hanging look-up does not delay others."""

from __future__ import annotations

import ipaddress
import os
import socket
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING

from emm_pipeline.event_loop import in_thread

if TYPE_CHECKING:
    from aiohappyeyeballs import AddrInfoType

_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


@lru_cache(maxsize=100_000)
def _numeric(host: str) -> tuple[int, str] | None:
    """Return the family of a numeric address, and the address in its usual form; None for a name."""
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        return _FAMILIES[address.version], str(address)
    return None


def is_numeric(host: str) -> bool:
    """Whether a host is an address, and no name."""
    return _numeric(host) is not None


async def resolve(host: str, port: int) -> list[AddrInfoType]:
    """Return the addresses of a host as `socket.getaddrinfo` does, the preferred one first.

    A numeric address is not looked up.

    Raises:
        OSError: The name does not resolve (`socket.gaierror`).
        ValueError: The name is invalid.
    """
    if numeric := _numeric(host):
        family, address = numeric
        return [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))]

    def look_up() -> list[AddrInfoType]:
        return list(dict.fromkeys(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))

    return await in_thread(look_up, f"resolve {host}")


def why_not_connected(err: Exception) -> str:
    """Return the operating system's reason, in words."""
    if isinstance(err, socket.gaierror):
        return f"name does not resolve ({err.strerror})"
    if isinstance(err, UnicodeError):
        return "name does not resolve: it is not a valid host name"
    if isinstance(err, OSError) and err.errno:
        return os.strerror(err.errno).lower()
    return " ".join(str(err).split()) or type(err).__name__
