"""Test whether gateways can be reached, by opening and closing a session with each."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from emm_pipeline.modbus.gateway_locks import GatewayLocks, Unlocked, lock_names, release_all, try_acquire_all
from emm_pipeline.modbus.session import Session, Timing
from emm_pipeline.modbus.transport.base import ConnectError
from emm_pipeline.modbus.transport.pacing import Pace, connections_for

if TYPE_CHECKING:
    from collections.abc import Collection

    from emm_pipeline.fleet import GatewayAddress


async def find_unreachable(
    gateways: Collection[GatewayAddress],
    *,
    timeout_s: float = 3.0,
    max_connections: int | None = 200,
    locks: GatewayLocks | None = None,
) -> dict[GatewayAddress, str]:
    """Connect to each gateway once, to all at the same time. Return those that cannot be reached, with the reason.

    A gateway that a poll has locked is not tested: the poll shows whether it can be reached, and many devices take one
    connection only. Over UDP only a reply shows that a gateway can be reached.
    """
    locks = locks or Unlocked()
    free = asyncio.Semaphore(connections_for(len(gateways), max_connections))
    pace = Pace()

    async def why_unreachable(gateway: GatewayAddress) -> str | None:
        session = Session(gateway, Timing(timeout_s), pace=pace)
        async with free:
            names = await lock_names(gateway, timeout_s)
            if not await try_acquire_all(locks, names):
                return None
            try:
                await session.open()
            except ConnectError as err:
                return str(err)
            finally:
                session.close()
                release_all(locks, names)
        return None

    distinct = sorted(set(gateways))
    reasons = await asyncio.gather(*map(why_unreachable, distinct))
    return {gateway: reason for gateway, reason in zip(distinct, reasons, strict=True) if reason}
