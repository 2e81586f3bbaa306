"""Links that carry bytes, and the protocol that asyncio calls for each link."""

from __future__ import annotations

import asyncio
from typing import Protocol


class LinkOwner(Protocol):
    """The owner of a link, which is notified of its events: a transport."""

    def begin(self, connection: Connection, link: Link) -> None:
        """Called when the link is open."""

    def receive(self, connection: Connection, data: bytes) -> None:
        """Called when bytes were received."""

    def lose(self, connection: Connection) -> None:
        """Called when either end has closed the link."""


class Link(Protocol):
    """A carrier of bytes, such as asyncio's transports."""

    def write(self, data: bytes) -> None:
        """Send bytes."""

    def abort(self) -> None:
        """Close the link at once."""


class Connection(asyncio.Protocol):
    """One link of a transport, as asyncio's protocol. It does nothing once the transport has another link."""

    __slots__ = ("_owner",)

    def __init__(self, owner: LinkOwner) -> None:
        self._owner = owner

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio once the link is open."""
        self._owner.begin(self, transport)  # type: ignore[arg-type]  # all kinds can be written to, or are wrapped

    def data_received(self, data: bytes) -> None:
        """Called by asyncio with a part of the reply, or with unsolicited bytes."""
        self._owner.receive(self, data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        """Called by asyncio when the gateway, the network or the transport has ended the connection."""
        self._owner.lose(self)
