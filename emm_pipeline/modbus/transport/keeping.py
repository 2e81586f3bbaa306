"""Connections that stay open from one reading of this process to the next, though each has its own event loop."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emm_pipeline.fleet import GatewayAddress

_kept: dict[GatewayAddress, socket.socket] = {}


def keep(gateway: GatewayAddress, open_socket: socket.socket) -> None:
    """Keep the connection of a socket open after this one is closed."""
    with suppress(OSError):
        discard(gateway)
        _kept[gateway] = socket.fromfd(open_socket.fileno(), open_socket.family, open_socket.type)


def take(gateway: GatewayAddress) -> socket.socket | None:
    """Return the connection that was kept; the caller must close it."""
    return _kept.pop(gateway, None)


def discard(gateway: GatewayAddress) -> None:
    """Close the connection that was kept, if there is one."""
    if kept := take(gateway):
        kept.close()


def close_all() -> None:
    """Close all connections that were kept, at the end of a run."""
    for gateway in list(_kept):
        discard(gateway)
