"""Read a gateway as soon as a connection and its lock are free, over its kept session if there is one."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from emm_pipeline.modbus.gateway_locks import LOCK_RETRY_S, lock_names, release_all, try_acquire_all, unresolved
from emm_pipeline.modbus.kept_sessions import KeptSession
from emm_pipeline.modbus.transport.resolving import is_numeric

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from emm_pipeline.fleet import GatewayAddress
    from emm_pipeline.modbus.gateway import GatewayPoll
    from emm_pipeline.modbus.gateway_locks import GatewayLocks
    from emm_pipeline.modbus.kept_sessions import KeptSessions
    from emm_pipeline.modbus.quick_reading import QuickReading
    from emm_pipeline.modbus.session import Session


class GatewayReader:
    """The locks and sessions of one fleet reading.

    Args:
        locks: The gateways' locks.
        sessions: The sessions that are kept between readings; None: all are closed.
        most_connections: Number of connections at once; None: one for each gateway.
    """

    def __init__(self, locks: GatewayLocks, sessions: KeptSessions | None, most_connections: int | None) -> None:
        self._locks, self._sessions = locks, sessions
        self._is_limited = most_connections is not None
        self._slots = nullcontext() if most_connections is None else asyncio.Semaphore(most_connections)

    @property
    def keeps(self) -> bool | None:
        """Whether sessions are kept unless the type forbids it; None if they cannot be."""
        return None if self._sessions is None else self._sessions.next_is_near

    def take_at_once(self, address: GatewayAddress) -> KeptSession | None:
        """Return the kept session with a gateway if its address is certainly the same as before."""
        return self._sessions.take(address) if self._sessions and is_numeric(address.host) else None

    async def read(self, gateway: GatewayPoll) -> KeptSession | None:
        """Read all meters behind a gateway.

        While another run has the lock, other gateways can use the connection. The gateway of a kept session is locked.

        Returns:
            If the only meter is to be read over it as a `QuickReading`: a session with the gateway, which is locked.
        """
        locks, sessions = self._locks, self._sessions
        gateway.waits_because = "all allowed connections were in use"
        names: tuple[str, ...] = ()
        while True:
            async with self._slots:
                gateway.waits_because = None
                kept = await self._take_kept(gateway, sessions) if sessions else None
                names = kept.names if kept else names or await lock_names(gateway.address, gateway.timeout_s)
                if kept or await try_acquire_all(locks, names):
                    if kept is None and gateway.has_one_meter and not self._is_limited:
                        return await self._open(gateway, names)
                    await self._read_locked(gateway.read(kept.session if kept else None, keeps=self.keeps), names)
                    return None
                if sessions and (unused := sessions.close(names)):  # kept under another name of the gateway
                    release_all(locks, unused)
                gateway.waits_because = f"another run is using {gateway.address}"
            await asyncio.sleep(LOCK_RETRY_S)

    async def go_on(self, gateway: GatewayPoll, quick: QuickReading) -> None:
        """Read what is left of a meter whose reading was begun without a task."""
        kept = quick.kept
        await self._read_locked(gateway.go_on(kept.session, quick.started, keeps=self.keeps), kept.names)

    async def _open(self, gateway: GatewayPoll, names: tuple[str, ...]) -> KeptSession | None:
        """Open a session with a locked gateway, and return it if its replies have ids; otherwise read the meter."""
        opened = None
        try:
            opened = await gateway.open()
        finally:
            if opened is None:
                self.end(None, names)
        if opened is None or opened.has_ids:
            return KeptSession(opened, names) if opened else None
        await self._read_locked(gateway.go_on(opened, None, keeps=self.keeps), names)
        return None

    async def _take_kept(self, gateway: GatewayPoll, sessions: KeptSessions) -> KeptSession | None:
        """Return the kept session with a gateway, unless its name has other addresses now, which must be locked.

        While the name does not resolve, the session is used.
        """
        address = gateway.address
        if before := sessions.names_of(address):
            names = await lock_names(address, gateway.timeout_s)
            if names not in (before, unresolved(address)):
                release_all(self._locks, sessions.close(before))
        return sessions.take(address)

    async def _read_locked(self, reading: Coroutine[Any, Any, Session | None], names: tuple[str, ...]) -> None:
        """Execute the reading of a locked gateway, and unlock it unless its session is kept."""
        still_open: Session | None = None
        try:
            still_open = await reading
        finally:
            self.end(still_open, names)

    def end(self, still_open: Session | None, names: tuple[str, ...]) -> None:
        """Keep a session that is still open; otherwise unlock its gateway."""
        if still_open and self._sessions is not None:
            self._sessions.keep(still_open, names)
        else:
            release_all(self._locks, names)
