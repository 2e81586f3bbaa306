"""Looks up host names, each in a thread of its own.

asyncio's own look-up shares a handful of threads, so a few names that hang keep all others waiting, and it joins them
when the loop ends. Here a name that hangs costs only those who asked for it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from contextlib import suppress


async def resolve(host: str) -> list[str]:
    """Returns the numeric addresses of a host, the preferred one first; a numeric one is its own.

    Raises:
        OSError: The name does not resolve (`socket.gaierror`).
        ValueError: It is no valid name.
    """
    with suppress(ValueError):
        return [str(ipaddress.ip_address(host))]

    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[str]] = loop.create_future()

    def settle(addresses: list[str], error: Exception | None) -> None:
        if found.done():  # nobody waits any more
            return
        if error:
            found.set_exception(error)
        else:
            found.set_result(addresses)

    def look_up() -> None:
        addresses: list[str] = []
        error: Exception | None = None
        try:
            addresses = [str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
        except (OSError, ValueError) as err:
            error = err
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, addresses, error)

    threading.Thread(target=look_up, name=f"resolve {host}", daemon=True).start()
    return await found
