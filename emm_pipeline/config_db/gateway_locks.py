"""Locks per gateway, which prevent two runs from using a gateway at the same time: PostgreSQL's advisory locks.

The locks belong to a database session, so the server frees those of a process that died. The connection must
therefore go directly to the server, not through a pooler that shares sessions.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
import time
from contextlib import asynccontextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING

import psycopg2
from sqlalchemy import text

from emm_pipeline.config_db.engine import database_errors
from emm_pipeline.config_db.gateway_wishes import LISTEN, Wishes, wait_for_wishes
from emm_pipeline.errors import ConfigDatabaseError
from emm_pipeline.event_loop import in_thread

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Sequence

    from sqlalchemy import Connection, Engine

_log = logging.getLogger(__name__)

ANSWER_TIMEOUT_S = 5.0
"""Time in seconds that PostgreSQL may take for one statement before the reading continues without locks."""

# If the host of a run crashes, TCP keepalive ends its session and frees its locks after a minute instead of two hours.
_SESSION = """
    SELECT set_config('application_name', 'emm gateway locks', false), set_config('tcp_keepalives_idle', '30', false),
        set_config('tcp_keepalives_interval', '10', false), set_config('tcp_keepalives_count', '3', false)
"""
_LOCK = text("SELECT key, pg_try_advisory_lock(key) FROM unnest(CAST(:keys AS bigint[])) AS key")
_UNLOCK = text("SELECT pg_advisory_unlock(key) FROM unnest(CAST(:keys AS bigint[])) AS key")

OTHERS_FIRST_S = 0.5
"""Seconds for which we do not lock a gateway again that we gave up for another process, which tries several times."""


@cache
def lock_key(address: str) -> int:
    """Return the key of PostgreSQL's advisory lock for a gateway `host:port`: 64 bits, signed."""
    digest = hashlib.blake2b(f"emm gateway {address}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


@asynccontextmanager
async def gateway_locks(engine: Engine) -> AsyncIterator[PostgresGatewayLocks]:
    """Yield the locks for one reading, and release those still held at its end."""
    locks = PostgresGatewayLocks(engine)
    try:
        yield locks
    finally:
        await locks.close()


class PostgresGatewayLocks:
    """The locks that one session holds. Requests that arrive while a statement is executed are sent in the next one.

    If PostgreSQL does not answer, every gateway counts as locked by this session, because a reading that is not taken
    now cannot be repeated, and other runs cannot start without PostgreSQL. Locks that the session already holds remain
    as long as the session exists.

    A process may hold locks between two readings; a notification tells it that another one wants a gateway.
    """

    def __init__(self, engine: Engine, *, listens: bool = False) -> None:
        """`listens`: whether we keep gateways between readings, and give them up for others."""
        self._engine = engine
        self._listens = listens
        self._connection: Connection | None = None
        self._wanted: dict[str, asyncio.Future[bool]] = {}
        self._unwanted: list[str] = []
        self._worker: asyncio.Task[None] | None = None
        self._executing = threading.Lock()
        """The statement of a thread that nothing waits for any more may still be executed."""
        self._is_away = False
        self._held: set[str] = set()
        """Locked or being locked by us: PostgreSQL lets one session take a lock twice."""
        self._wishes = Wishes()
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
        """Unlock the gateway."""
        self._held.discard(address)
        self._unwanted.append(address)
        self._wake()

    async def finish(self) -> None:
        """Wait until the last statement has been executed."""
        if self._worker:
            await asyncio.wait([self._worker])
            self._worker = None

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
                await in_thread(self._check, "gateway locks")
        except ConfigDatabaseError:
            return False
        return True

    async def close(self) -> None:
        """End the session, which releases its locks."""
        await self.finish()
        if self._is_away:
            self.abandon()
        elif self._connection is not None:
            await in_thread(self._connection.close, "gateway locks")

    def abandon(self) -> None:
        """End the session as soon as PostgreSQL answers, without waiting for it."""
        threading.Thread(target=self.end_now, name="gateway locks", daemon=True).start()

    def _wake(self) -> None:
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())

    async def _work(self) -> None:
        while (self._wanted or self._unwanted) and not self._is_away:
            wanted, self._wanted = self._wanted, {}
            unwanted, self._unwanted = self._unwanted, []
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    locked = await in_thread(lambda: self._execute(list(wanted), unwanted), "gateway locks")  # noqa: B023 - awaited here
            except (ConfigDatabaseError, TimeoutError) as err:
                self._go_on_without(err)
                locked = set(wanted)
            for address, answer in wanted.items():
                if not answer.done():
                    answer.set_result(address in locked)
                elif address in locked:  # the task that requested it has been cancelled
                    self._unwanted.append(address)
        for answer in self._wanted.values():
            answer.set_result(True)

    def _go_on_without(self, err: Exception) -> None:
        self._is_away = True
        reason = str(err) or f"no answer within {ANSWER_TIMEOUT_S:g} s"
        _log.warning("gateways are read without a lock, so another run may talk to them at the same time: %s", reason)

    def _execute(self, wanted: Sequence[str], unwanted: Sequence[str]) -> set[str]:
        """Release and acquire locks; return the addresses whose locks were acquired."""
        with self._executing, database_errors(self._engine):
            if self._connection is None:
                self._connection = self._open()
            if unwanted:
                self._connection.execute(_UNLOCK, {"keys": [lock_key(address) for address in unwanted]})
            if not wanted:
                return set()
            keys = {lock_key(address): address for address in wanted}
            rows = self._connection.execute(_LOCK, {"keys": list(keys)})
            locked = {keys[key] for key, is_locked in rows if is_locked}
            self._wishes.send(self._connection, {each: key for key, each in keys.items() if each not in locked})
            return locked

    # The methods below are for the time between two readings, when no event loop runs.

    def wait_until_wanted(self, until: float, interrupted: socket.socket) -> set[str] | None:
        """Wait until another process wants gateways that we have locked.

        Args:
            until: The end of the wait, on the clock of `time.monotonic`.
            interrupted: The wait ends when it can be read.

        Returns:
            The addresses that are wanted; none at the end of the wait; None if the session has ended, and its locks.
        """
        try:
            with database_errors(self._engine):
                if self._connection is None or self._is_away:
                    return None
                addresses = {lock_key(address): address for address in self._held}
                wanted = wait_for_wishes(self._connection, addresses, until, interrupted)
        except (ConfigDatabaseError, psycopg2.Error):
            return None
        self._given_up_at |= dict.fromkeys(wanted, time.monotonic())
        return wanted

    def release_now(self, addresses: Sequence[str]) -> None:
        """Unlock gateways before this returns.

        Raises:
            ConfigDatabaseError: The session has ended, and its locks with it.
        """
        self._held.difference_update(addresses)
        self._execute([], addresses)

    def end_now(self) -> None:
        """End the session, which releases its locks, before this returns."""
        with suppress(ConfigDatabaseError), self._executing, database_errors(self._engine):
            if self._connection is not None:
                self._connection.close()

    def _check(self) -> None:
        with self._executing, database_errors(self._engine):
            if self._connection is not None:
                self._connection.exec_driver_sql("SELECT")

    def _open(self) -> Connection:
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        connection.detach()  # closing it ends the session
        connection.exec_driver_sql(_SESSION)
        if self._listens:
            connection.exec_driver_sql(LISTEN)
        return connection
