"""Locks that prevent two processes from using one gateway at the same time."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

LOCK_RETRY_S = 0.2
"""Seconds between attempts to lock a gateway that another process has locked."""


class GatewayLocks(Protocol):
    """Locks by gateway; an address is `host:port`."""

    async def try_acquire(self, address: str) -> bool:
        """Lock the gateway if it is free; return immediately whether that succeeded."""

    def release(self, address: str) -> None:
        """Unlock the gateway, possibly a moment after the call returns."""


class Unlocked:
    """Locks for a process that runs alone: it locks nothing."""

    async def try_acquire(self, address: str) -> bool:  # noqa: ARG002 - GatewayLocks's
        """Return True."""
        return True

    def release(self, address: str) -> None:
        """Do nothing."""


@asynccontextmanager
async def locked(locks: GatewayLocks, address: str, on_wait: Callable[[], None] | None = None) -> AsyncIterator[None]:
    """Hold the lock of the gateway `host:port`. If a poll has it, call `on_wait` once and wait."""
    while not await locks.try_acquire(address):
        if on_wait:
            on_wait()
            on_wait = None
        await asyncio.sleep(LOCK_RETRY_S)
    try:
        yield
    finally:
        locks.release(address)
