"""The connections to gateways that a run's process keeps open, and locked, from one fleet reading to the next.

They are closed when the run ends, when another process wants the gateway, or when the next reading does not come. A
thread watches for this, because the process is busy with loading, or asleep, between its readings.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from emm_pipeline.config_db.gateway_locks import PostgresGatewayLocks
from emm_pipeline.errors import ConfigDatabaseError
from emm_pipeline.event_loop import FastLoop
from emm_pipeline.modbus.gateway_locks import Unlocked
from emm_pipeline.modbus.kept_sessions import KeptSessions

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from sqlalchemy import Engine

    from emm_pipeline.modbus.gateway_locks import GatewayLocks

T = TypeVar("T")

_log = logging.getLogger(__name__)
_UNLOCKED = "gateways are read without a lock, because PostgreSQL does not answer"

NEAR_S = 10.0
"""Seconds to the next reading of a run up to which connections are kept by default."""

LATE_S = 5.0
"""Seconds after which a reading that has not begun is not expected any more."""

STOPS_WITHIN_S = 1.0
"""Seconds for which a reading waits at most for the thread that watches."""


class OpenGateways:
    """The event loop, the kept sessions and the gateway locks of one process."""

    def __init__(self) -> None:
        self._loop = FastLoop()
        self._sessions = KeptSessions()
        self._locks: PostgresGatewayLocks | None = None
        self._watch: _Watch | None = None

    def run(
        self,
        read: Callable[[GatewayLocks, KeptSessions | None], Coroutine[Any, Any, T]],
        engine: Engine | None,
        next_in_s: float | None = None,
    ) -> T:
        """Run a reading.

        Args:
            read: Creates the coroutine that reads, from the locks and the kept sessions to use.
            engine: The configuration database, for the locks; None: other processes are not considered.
            next_in_s: Seconds until the next reading begins; None if none follows.
        """
        try:
            if not self._stop_watching():
                engine = None
            self._sessions.next_is_near = next_in_s is not None and next_in_s <= NEAR_S
            result = self._loop.run(self._read(read, engine, keeps=next_in_s is not None))
            if self._sessions and self._locks and next_in_s is not None:
                self._start_watching(self._locks, time.monotonic() + next_in_s + LATE_S)
        except BaseException:
            self.close()
            raise
        return result

    async def _read(
        self,
        read: Callable[[GatewayLocks, KeptSessions | None], Coroutine[Any, Any, T]],
        engine: Engine | None,
        *,
        keeps: bool,
    ) -> T:
        if engine is None:
            await self._end_locks()
            return await read(Unlocked(), None)
        locks = await self._locks_of_reading(engine)
        if locks is None:
            return await read(Unlocked(), None)
        result = await read(locks, self._sessions)
        if keeps:
            await locks.finish()
        else:
            await self._end_locks()
        return result

    async def _locks_of_reading(self, engine: Engine) -> PostgresGatewayLocks | None:
        """Return the locks, which still include those of all kept sessions; None if PostgreSQL does not answer."""
        answers = True
        if self._locks:
            try:
                if await self._locks.is_intact():
                    return self._locks
            except TimeoutError:
                answers = False  # for a new session, it would take as long
                _log.warning(_UNLOCKED)
            self._sessions.close()  # another process may have locked these gateways
            self._locks.abandon()
        self._locks = PostgresGatewayLocks(engine, listens=True) if answers else None
        return self._locks

    async def _end_locks(self) -> None:
        """Close all sessions, and end that of the locks."""
        self._sessions.close()
        locks, self._locks = self._locks, None
        if locks:
            await locks.close()
        await asyncio.sleep(0)  # in which closed connections end

    def close(self) -> None:
        """Close all connections, unlock the gateways, and end the loop. It may be closed twice."""
        self._stop_watching()
        try:
            self._loop.run(self._end_locks())
        finally:
            self._loop.close()
            self._loop = FastLoop()

    def _start_watching(self, locks: PostgresGatewayLocks, until: float) -> None:
        try:
            self._watch = _Watch(locks, until, self._close_sessions)
        except (OSError, RuntimeError) as err:  # no descriptor or thread is left; the reading is complete
            _log.warning("no connection to a gateway is kept until the next reading: %s", err)
            self.close()

    def _stop_watching(self) -> bool:
        """Stop the thread, and return whether PostgreSQL answers it; if not, the locks are lost."""
        answers = self._watch is None or self._watch.stop()
        self._watch = None
        if answers:
            return True
        _log.warning(_UNLOCKED)
        self._sessions.close()
        self._locks = None
        return False

    def _close_sessions(self, addresses: set[str] | None) -> list[str]:
        """Close the sessions of these gateways, or all; return the names that need no lock any more."""

        async def close() -> list[str]:
            names = self._sessions.close(addresses)
            await asyncio.sleep(0)
            return names

        return self._loop.run(close())


class _Watch:
    """A thread that gives gateways up between two readings: those that are wanted; all when `until` has passed."""

    def __init__(
        self, locks: PostgresGatewayLocks, until: float, close: Callable[[set[str] | None], list[str]]
    ) -> None:
        self._locks, self._until, self._close = locks, until, close
        self._closing = threading.Lock()
        self._is_stopped = self._has_ended = self._is_left_alone = False
        self._interrupt, self._interrupted = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="kept gateways", daemon=True)
        self._thread.start()

    def stop(self) -> bool:
        """End the thread; after that, the caller may use the sessions. It may be stopped twice.

        Returns:
            Whether it may use the locks, too: the thread has ended, and does not wait for PostgreSQL.
        """
        with self._closing:
            self._is_stopped = True
        with suppress(OSError):  # it was stopped before, and a signal came
            self._interrupt.send(b"\0")
        self._thread.join(STOPS_WITHIN_S)
        with self._closing:
            self._is_left_alone = not self._has_ended
        if self._is_left_alone:
            return False
        self._interrupt.close()
        self._interrupted.close()
        return True

    def _run(self) -> None:
        try:
            while wanted := self._locks.wait_until_wanted(self._until, self._interrupted):
                self._give_up(wanted)
            if wanted is None or time.monotonic() >= self._until:
                self._give_up(None)
        except Exception:  # noqa: BLE001 - the gateways must not stay locked
            _log.exception("the connections to gateways are closed, because the wait for the next reading failed")
            self._give_up(None)
        finally:
            with self._closing:
                self._has_ended = True
            if self._is_left_alone:
                self._locks.end_now()

    def _give_up(self, addresses: set[str] | None) -> None:
        names = self._close_unless_stopped(addresses)
        try:
            if names:
                self._locks.release_now(names)
        except ConfigDatabaseError:
            self._close_unless_stopped(None)

    def _close_unless_stopped(self, addresses: set[str] | None) -> list[str]:
        with self._closing:
            return [] if self._is_stopped else self._close(addresses)


_of_run: dict[str, OpenGateways] = {}


def gateways_of(run: str) -> OpenGateways:
    """Return the gateways of the run that this process executes; those of another run are closed."""
    for other in [other for other in _of_run if other != run]:
        close_gateways(other)
    return _of_run.setdefault(run, OpenGateways())


def close_gateways(run: str) -> None:
    """Close the gateways at the end of a run."""
    if gateways := _of_run.pop(run, None):
        gateways.close()
