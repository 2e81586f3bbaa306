"""Resolve host names, each in its own thread, so that a hanging look-up does not delay others."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from emm_pipeline.event_loop import in_thread

if TYPE_CHECKING:
    from aiohappyeyeballs import AddrInfoType

_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


async def resolve(host: str, port: int) -> list[AddrInfoType]:
    """Return the addresses of a host as `socket.getaddrinfo` does, the preferred one first.

    A numeric address is not looked up.

    Raises:
        OSError: The name does not resolve (`socket.gaierror`).
        ValueError: The name is invalid.
    """
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        return [(_FAMILIES[address.version], socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (str(address), port))]

    def look_up() -> list[AddrInfoType]:
        return list(dict.fromkeys(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))

    return await in_thread(look_up, f"resolve {host}")
