"""Locks that keep two sessions, of one process or of two, from communicating with one gateway at the same time.

A gateway is identified by the addresses that its name resolves to, so that two names of it share one lock.
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
"""Maximum seconds for the name server; after that, the name itself is locked."""


class GatewayLocks(Protocol):
    """Locks with names, such as `10.0.0.5:502`."""

    async def try_acquire(self, address: str) -> bool:
        """Try to lock without waiting; return whether it succeeded. A name that we have locked is locked, too."""

    def release(self, address: str) -> None:
        """Unlock the gateway, possibly a moment after the call returns."""


class Unlocked:
    """Locks for a single process: only its own sessions wait for each other."""

    def __init__(self) -> None:
        self._held: set[str] = set()

    async def try_acquire(self, address: str) -> bool:
        """Try to lock; return whether no other session of this process has the lock."""
        if address in self._held:
            return False
        self._held.add(address)
        return True

    def release(self, address: str) -> None:
        """Unlock it."""
        self._held.discard(address)


async def lock_names(gateway: GatewayAddress, look_up_s: float = LOOK_UP_S) -> tuple[str, ...]:
    """Return the names to lock for a gateway: each of its addresses with the port, sorted.

    The transport does not matter: with two transports, it is still one gateway. A serial line is known by its device. A
    name that does not resolve within `look_up_s` seconds is locked as it is.
    """
    if gateway.host.startswith("/"):
        return (os.path.realpath(gateway.host),)  # noqa: ASYNC240 - a link to a device
    if is_numeric(gateway.host):
        return unresolved(gateway)
    with suppress(OSError, ValueError, OverflowError):
        async with asyncio.timeout(look_up_s):
            found = await resolve(gateway.host, gateway.port)
            return tuple(sorted({f"{each[4][0]}:{gateway.port}" for each in found}))
    return unresolved(gateway)


def unresolved(gateway: GatewayAddress) -> tuple[str, ...]:
    """Return the name to lock for a gateway whose host is an address, or a name that does not resolve."""
    return (f"{gateway.host}:{gateway.port}",)


async def try_acquire_all(locks: GatewayLocks, names: tuple[str, ...]) -> bool:
    """Try to lock all names; return whether it succeeded. Otherwise none of them is locked."""
    if len(names) == 1:
        return await locks.try_acquire(names[0])
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
    """Hold the lock of a gateway. While a poll has it, call `on_wait` once and wait."""
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
