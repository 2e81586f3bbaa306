"""Test whether gateways can be reached, by opening and closing a session with each."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from emm_pipeline.modbus.session import Session, Timing
from emm_pipeline.modbus.transport.base import ConnectError
from emm_pipeline.modbus.transport.pacing import Pace, allowed_connections

if TYPE_CHECKING:
    from collections.abc import Collection

    from emm_pipeline.fleet import GatewayAddress


async def find_unreachable(
    gateways: Collection[GatewayAddress], *, timeout_s: float = 3.0, max_connections: int = 200
) -> dict[GatewayAddress, str]:
    """Connect to all gateways concurrently; return those that cannot be reached, each with the reason."""
    free = asyncio.Semaphore(allowed_connections(max_connections))
    pace = Pace()

    async def why_unreachable(gateway: GatewayAddress) -> str | None:
        session = Session(gateway, Timing(timeout_s), pace=pace)
        async with free:
            try:
                await session.open()
            except ConnectError as err:
                return str(err)
            finally:
                session.close()
        return None

    distinct = sorted(set(gateways))
    reasons = await asyncio.gather(*map(why_unreachable, distinct))
    return {gateway: reason for gateway, reason in zip(distinct, reasons, strict=True) if reason}
