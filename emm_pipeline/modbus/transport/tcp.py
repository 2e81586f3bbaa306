"""Modbus over a TCP connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohappyeyeballs import start_connection

from emm_pipeline.modbus.transport.base import ConnectError
from emm_pipeline.modbus.transport.links import Connection
from emm_pipeline.modbus.transport.resolving import is_numeric, resolve, why_not_connected
from emm_pipeline.modbus.transport.stream import StreamTransport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohappyeyeballs import AddrInfoType

    from emm_pipeline.fleet import GatewayAddress
    from emm_pipeline.modbus.transport.base import Framing

NEXT_ADDRESS_AFTER_S = 0.25
"""Seconds without an answer after which the next address of a host is tried concurrently."""


class TcpTransport(StreamTransport):
    """A TCP connection to a gateway, with any framing."""

    def __init__(self, gateway: GatewayAddress, framing: Framing) -> None:
        super().__init__(gateway, framing)
        self._host, self._port = gateway.host, gateway.port

    async def open(self, timeout_s: float) -> None:
        """Resolve the host and connect, within `timeout_s` seconds, to the first of its addresses that answers.

        Raises:
            ConnectError: With the operating system's reason, and the addresses if there are several.
        """
        awaited, where = "answer from the name server", ""
        try:
            async with asyncio.timeout(timeout_s):
                addresses = await resolve(self._host, self._port)
                awaited, where = "answer to connecting", "" if is_numeric(self._host) else _named(addresses)
                await self._connect(addresses, timeout_s)
        except TimeoutError as err:
            raise ConnectError(f"no {awaited} within {timeout_s} s{where}") from err
        except (OSError, ValueError, OverflowError) as err:
            raise ConnectError(why_not_connected(err) + where) from err

    @property
    def can_be_kept(self) -> bool:
        """Whether the connection is open, and nothing is left of earlier replies."""
        return self._link is not None and not self._received

    async def _connect(self, addresses: Sequence[AddrInfoType], timeout_s: float) -> None:
        loop = asyncio.get_running_loop()
        if len(addresses) == 1:
            await loop.create_connection(lambda: Connection(self), addresses[0][4][0], self._port)
            return
        share_s = min(NEXT_ADDRESS_AFTER_S, timeout_s / 2 / len(addresses))
        connected = await start_connection(addresses, happy_eyeballs_delay=share_s)
        await loop.create_connection(lambda: Connection(self), sock=connected)


def _named(addresses: Sequence[AddrInfoType]) -> str:
    """Return the addresses of a name, for the end of a reason."""
    which = "address" if len(addresses) == 1 else "addresses"
    return f" ({which} tried: {', '.join(str(info[4][0]) for info in addresses)})"
