"""Locks that keep two processes from talking to one gateway at the same time."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

LOCK_RETRY_S = 0.2
"""From one attempt to the next to lock a gateway that someone else has locked."""


class GatewayLocks(Protocol):
    """Locks by gateway; an address is `host:port`."""

    async def try_acquire(self, address: str) -> bool:
        """Returns at once whether the gateway is locked for us now."""

    def release(self, address: str) -> None:
        """Unlocks it; that may take a moment longer than the call."""


class Unlocked:
    """Locks for a process that is alone: nothing is locked."""

    async def try_acquire(self, address: str) -> bool:  # noqa: ARG002 - GatewayLocks's
        """Returns True."""
        return True

    def release(self, address: str) -> None:
        """Does nothing."""


@asynccontextmanager
async def locked(locks: GatewayLocks, address: str, on_wait: Callable[[], None] | None = None) -> AsyncIterator[None]:
    """Holds the lock of the gateway `host:port`; waits while a poll has it, and calls `on_wait` once if so."""
    while not await locks.try_acquire(address):
        if on_wait:
            on_wait()
            on_wait = None
        await asyncio.sleep(LOCK_RETRY_S)
    try:
        yield
    finally:
        locks.release(address)
