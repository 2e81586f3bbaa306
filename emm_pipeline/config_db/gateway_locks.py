"""Locks per gateway, which prevent two runs from using a gateway at the same time: few statements for many gateways."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import psycopg2

from emm_pipeline.config_db.lock_session import LockSession
from emm_pipeline.errors import ConfigDatabaseError
from emm_pipeline.event_loop import in_thread

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Sequence

    from sqlalchemy import Engine

_log = logging.getLogger(__name__)

ANSWER_TIMEOUT_S = 5.0
"""Time in seconds that PostgreSQL may take for one statement before the reading continues without locks."""

OTHERS_FIRST_S = 0.5
"""Seconds for which we do not lock a gateway again that we gave up for another process, which tries several times."""

GATHER_S = 0.05
"""Seconds within which gateways that are released are unlocked by one statement. Less than LOCK_RETRY_S."""


@asynccontextmanager
async def gateway_locks(engine: Engine) -> AsyncIterator[PostgresGatewayLocks]:
    """Yield the locks for one reading, and release those still held at its end."""
    locks = PostgresGatewayLocks(engine)
    try:
        yield locks
    finally:
        await locks.close()


class PostgresGatewayLocks:
    """The locks that one session holds. Gateways that are requested during a statement are locked by the next one.

    Those that are released are unlocked together after GATHER_S, because a reading releases thousands one by one.

    If PostgreSQL does not answer, every gateway counts as locked by this session, because a reading that is not taken
    now cannot be repeated, and other runs cannot start without PostgreSQL. Locks that the session already holds remain
    as long as the session exists.

    A process may hold locks between two readings; a notification tells it that another one wants a gateway.
    """

    def __init__(self, engine: Engine, *, listens: bool = False) -> None:
        """`listens`: whether we keep gateways between readings, and give them up for others."""
        self._session = LockSession(engine, listens=listens)
        self._wanted: dict[str, asyncio.Future[bool]] = {}
        self._unwanted: list[str] = []
        self._unlocking: asyncio.TimerHandle | None = None
        self._unlocks_now = False
        self._worker: asyncio.Task[None] | None = None
        self._is_away = False
        self._held: set[str] = set()
        """Locked or being locked by us: PostgreSQL lets one session take a lock twice."""
        self._given_up_at: dict[str, float] = {}
        """When we gave a gateway up because another process wanted it."""

    async def try_acquire(self, address: str) -> bool:
        """Try to lock a gateway; return whether it succeeded."""
        given_up_s = time.monotonic() - self._given_up_at.get(address, float("-inf"))
        if address in self._held or given_up_s < OTHERS_FIRST_S:
            return False
        self._held.add(address)
        try:
            is_ours = await self._lock(address)
        except BaseException:
            self._held.discard(address)
            raise
        if not is_ours:
            self._held.discard(address)
        return is_ours

    async def _lock(self, address: str) -> bool:
        if self._is_away:
            return True
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._wanted[address] = answer
        self._wake()
        return await answer

    def release(self, address: str) -> None:
        """Unlock the gateway within GATHER_S, or with the next statement."""
        self._held.discard(address)
        self._unlock_soon(address)

    async def finish(self) -> None:
        """Unlock what was released, and wait until the last statement has been executed."""
        await self._wait()
        if self._unwanted:
            self._unlock_now()
            await self._wait()

    async def is_intact(self) -> bool:
        """Return whether all locks that the session held are still held.

        Raises:
            TimeoutError: PostgreSQL does not answer.
        """
        await self.finish()
        if self._is_away:
            return False
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await in_thread(self._session.check, "gateway locks")
        except ConfigDatabaseError:
            return False
        return True

    async def close(self) -> None:
        """End the session, which releases its locks."""
        self._take_unwanted()
        await self._wait()
        self._take_unwanted()
        if self._is_away:
            self.abandon()
        elif self._session.was_opened:
            await in_thread(self._session.end, "gateway locks")

    def abandon(self) -> None:
        """End the session as soon as PostgreSQL answers, without waiting for it."""
        threading.Thread(target=self.end_now, name="gateway locks", daemon=True).start()

    async def _wait(self) -> None:
        while self._worker and not self._worker.done():  # a timer may have started another one meanwhile
            await asyncio.wait([self._worker])

    def _wake(self) -> None:
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())

    def _unlock_soon(self, address: str) -> None:
        self._unwanted.append(address)
        if self._unlocking is None:
            self._unlocking = asyncio.get_running_loop().call_later(GATHER_S, self._unlock_now)

    def _unlock_now(self) -> None:
        self._unlocks_now = True
        self._wake()

    def _take_unwanted(self) -> list[str]:
        if self._unlocking:
            self._unlocking.cancel()
        self._unlocking, self._unlocks_now = None, False
        unwanted, self._unwanted = self._unwanted, []
        return unwanted

    async def _work(self) -> None:
        while (self._wanted or self._unlocks_now) and not self._is_away:
            wanted, self._wanted = self._wanted, {}
            unwanted = self._take_unwanted()
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    locked = await in_thread(lambda: self._session.execute(list(wanted), unwanted), "gateway locks")  # noqa: B023 - awaited here
            except (ConfigDatabaseError, TimeoutError) as err:
                self._go_on_without(err)
                locked = set(wanted)
            for address, answer in wanted.items():
                if not answer.done():
                    answer.set_result(address in locked)
                elif address in locked:  # the task that requested it has been cancelled
                    self._unlock_soon(address)
        wanted, self._wanted = self._wanted, {}
        for answer in wanted.values():
            if not answer.done():
                answer.set_result(True)

    def _go_on_without(self, err: Exception) -> None:
        self._is_away = True
        reason = str(err) or f"no answer within {ANSWER_TIMEOUT_S:g} s"
        _log.warning("gateways are read without a lock, so another run may talk to them at the same time: %s", reason)

    # The methods below need no event loop; the first two are for the time between two readings.

    def wait_until_wanted(self, until: float, interrupted: socket.socket) -> set[str] | None:
        """Wait until another process wants gateways that we have locked.

        Args:
            until: The end of the wait, on the clock of `time.monotonic`.
            interrupted: The wait ends when it can be read.

        Returns:
            The addresses that are wanted; none at the end of the wait; None if the session has ended, and its locks.
        """
        if self._is_away or not self._session.was_opened:
            return None
        try:
            wanted = self._session.wait_until_wanted(self._held, until, interrupted)
        except (ConfigDatabaseError, psycopg2.Error):
            return None
        self._given_up_at |= dict.fromkeys(wanted, time.monotonic())
        return wanted

    def release_now(self, addresses: Sequence[str]) -> None:
        """Unlock gateways before this returns.

        Raises:
            ConfigDatabaseError: PostgreSQL cannot be reached, or refuses.
        """
        self._held.difference_update(addresses)
        self._session.execute([], addresses)

    def end_now(self) -> None:
        """End the session, which releases its locks, before this returns."""
        self._session.end()
