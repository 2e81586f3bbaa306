"""Modbus over a TCP connection."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from emm_pipeline.modbus.transport.base import ConnectError
from emm_pipeline.modbus.transport.resolving import resolve
from emm_pipeline.modbus.transport.stream import StreamTransport, one_line

if TYPE_CHECKING:
    from emm_pipeline.fleet import GatewayAddress
    from emm_pipeline.modbus.transport.base import Framing


class TcpTransport(StreamTransport):
    """A TCP connection to a gateway, with any framing."""

    def __init__(self, gateway: GatewayAddress, framing: Framing) -> None:
        super().__init__(gateway.name, framing)
        self._host, self._port = gateway.host, gateway.port

    async def open(self, timeout_s: float) -> None:
        """Resolves the host and connects, within `timeout_s` seconds.

        Raises:
            ConnectError: With the operating system's reason.
        """
        awaited = "answer from the name server"
        try:
            async with asyncio.timeout(timeout_s):
                addresses = await resolve(self._host)
                awaited = "answer to connecting"
                await self._connect_to_one_of(addresses)
        except TimeoutError as err:
            raise ConnectError(f"no {awaited} within {timeout_s} s") from err
        except (OSError, ValueError, OverflowError) as err:
            raise ConnectError(_why_not_connected(err)) from err

    async def _connect_to_one_of(self, addresses: list[str]) -> None:
        loop = asyncio.get_running_loop()
        for address in addresses[:-1]:
            with suppress(OSError):
                await loop.create_connection(lambda: self, address, self._port)
                return
        await loop.create_connection(lambda: self, addresses[-1], self._port)


def _why_not_connected(err: Exception) -> str:
    if isinstance(err, socket.gaierror):
        return f"name does not resolve ({err.strerror})"
    if isinstance(err, UnicodeError):
        return "name does not resolve: it is no valid host name"
    if isinstance(err, OSError) and err.errno:
        return os.strerror(err.errno).lower()
    return one_line(err)
