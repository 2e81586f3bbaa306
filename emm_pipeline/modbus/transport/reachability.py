"""Whether something listens where a meter should be: a TCP connection, opened and closed again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from emm_pipeline.modbus.pacing import Pace, allowed_connections
from emm_pipeline.modbus.transport.tcp import ReadError, TcpTransport

if TYPE_CHECKING:
    from collections.abc import Collection

Address = tuple[str, int]
"""Host and port."""


async def find_unreachable(
    addresses: Collection[Address], *, timeout_s: float = 3.0, max_connections: int = 200
) -> dict[Address, str]:
    """Connect to each address once, side by side; return those that refused, each with the reason."""
    free = asyncio.Semaphore(allowed_connections(max_connections))
    pace = Pace()

    async def why_unreachable(address: Address) -> str | None:
        connection = TcpTransport(*address)
        async with free:
            await pace.wait()
            try:
                await connection.open(timeout_s)
            except ReadError as err:
                return str(err)
            finally:
                connection.close()
        return None

    distinct = sorted(set(addresses))
    reasons = await asyncio.gather(*(why_unreachable(address) for address in distinct))
    return {address: reason for address, reason in zip(distinct, reasons, strict=True) if reason}
