"""Locks that keep two sessions, of one process or of two, from communicating with one gateway at the same time.

A gateway is known by the addresses that its name resolves to, so that two names of it have one lock.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Protocol

from emm_pipeline.modbus.transport.resolving import is_numeric, resolve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from emm_pipeline.fleet import GatewayAddress

LOCK_RETRY_S = 0.2
"""Seconds between attempts to lock a gateway that another process has locked."""

LOOK_UP_S = 3.0
"""How long the name server may take; after that, the name itself is locked."""


class GatewayLocks(Protocol):
    """Lock by the name of what is locked, such as `10.0.0.5:502`."""

    async def try_acquire(self, address: str) -> bool:
        """Return at once whether it is locked for us now. What is locked already, by us too, is not."""

    def release(self, address: str) -> None:
        """Unlock the gateway, possibly a moment after the call returns."""


class Unlocked:
    """Lock for a process that is alone: only its own sessions wait for each other."""

    def __init__(self) -> None:
        self._held: set[str] = set()

    async def try_acquire(self, address: str) -> bool:
        """Return whether none of this process has it."""
        if address in self._held:
            return False
        self._held.add(address)
        return True

    def release(self, address: str) -> None:
        """Unlock it."""
        self._held.discard(address)


async def lock_names(gateway: GatewayAddress, look_up_s: float = LOOK_UP_S) -> tuple[str, ...]:
    """Return what to lock for a gateway: each of its addresses with the port, sorted.

    The transport does not matter: a gateway that is reached over two is one. A serial line is known by its device. A
    name that does not resolve within `look_up_s` seconds is locked as it is.
    """
    if gateway.host.startswith("/"):
        return (os.path.realpath(gateway.host),)  # noqa: ASYNC240 - a link to a device
    if is_numeric(gateway.host):
        return (f"{gateway.host}:{gateway.port}",)
    with suppress(OSError, ValueError, OverflowError):
        async with asyncio.timeout(look_up_s):
            found = await resolve(gateway.host, gateway.port)
            return tuple(sorted({f"{each[4][0]}:{gateway.port}" for each in found}))
    return (f"{gateway.host}:{gateway.port}",)


async def try_acquire_all(locks: GatewayLocks, names: tuple[str, ...]) -> bool:
    """Return whether all names are locked for us now; otherwise none is."""
    acquired: list[str] = []
    try:
        for name in names:
            if not await locks.try_acquire(name):
                return False
            acquired.append(name)
    finally:
        if len(acquired) < len(names):
            release_all(locks, acquired)
    return True


def release_all(locks: GatewayLocks, names: tuple[str, ...] | list[str]) -> None:
    """Unlock all names."""
    for name in names:
        locks.release(name)


@asynccontextmanager
async def locked(
    locks: GatewayLocks, gateway: GatewayAddress, on_wait: Callable[[], None] | None = None
) -> AsyncIterator[None]:
    """Hold the lock of a gateway; waits while a poll has it, and calls `on_wait` once if so."""
    names = await lock_names(gateway)
    while not await try_acquire_all(locks, names):
        if on_wait:
            on_wait()
            on_wait = None
        await asyncio.sleep(LOCK_RETRY_S)
    try:
        yield
    finally:
        release_all(locks, names)
