"""Modbus over UDP: each frame is one datagram."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from emm_pipeline.modbus.transport.base import ConnectError, ReadError
from emm_pipeline.modbus.transport.links import Connection
from emm_pipeline.modbus.transport.resolving import resolve, why_not_connected
from emm_pipeline.modbus.transport.stream import StreamTransport
from emm_pipeline.readings import FailureKind

if TYPE_CHECKING:
    from emm_pipeline.fleet import GatewayAddress
    from emm_pipeline.modbus.transport.base import Framing


class _Datagrams(asyncio.DatagramProtocol):
    """The protocol that asyncio calls for the socket."""

    def __init__(self, owner: UdpTransport) -> None:
        self._owner = owner
        self._connection = Connection(owner)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio once there is a socket."""
        self._owner.begin(self._connection, _Link(transport))  # type: ignore[arg-type]  # it sends datagrams

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002 - asyncio's; it is the gateway's
        """Called by asyncio with a datagram."""
        self._owner.receive(self._connection, data)

    def error_received(self, exc: Exception) -> None:
        """Called by asyncio when the host reports that nothing listens at the port."""
        self._owner.refuse(exc)


class _Link:
    """Send datagrams to the gateway."""

    def __init__(self, transport: asyncio.DatagramTransport) -> None:
        self._transport = transport

    def write(self, data: bytes) -> None:
        """Send a datagram."""
        self._transport.sendto(data)

    def abort(self) -> None:
        """Close the socket."""
        self._transport.abort()


class UdpTransport(StreamTransport):
    """A socket that sends datagrams to a gateway. It uses another local port each time that it is opened.

    Only the first reply shows whether the gateway exists.
    """

    def __init__(self, gateway: GatewayAddress, framing: Framing) -> None:
        super().__init__(gateway, framing)
        self._host, self._port = gateway.host, gateway.port

    async def open(self, timeout_s: float) -> None:
        """Resolve the host, within `timeout_s` seconds; its first address is used.

        Raises:
            ConnectError: With the operating system's reason.
        """
        try:
            async with asyncio.timeout(timeout_s):
                family, _, _, _, address = (await resolve(self._host, self._port))[0]
            loop = asyncio.get_running_loop()
            await loop.create_datagram_endpoint(
                lambda: _Datagrams(self), remote_addr=(str(address[0]), self._port), family=socket.AddressFamily(family)
            )
        except TimeoutError as err:
            raise ConnectError(f"no answer from the name server within {timeout_s} s") from err
        except (OSError, ValueError, OverflowError) as err:
            raise ConnectError(why_not_connected(err)) from err

    def refuse(self, err: Exception) -> None:
        """Fail the exchange, because the host reports that nothing listens at the port."""
        self._fail(ReadError(FailureKind.REFUSED, f"{why_not_connected(err)} (nothing listens at this UDP port)"))
