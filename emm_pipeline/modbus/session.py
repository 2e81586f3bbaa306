"""A conversation with one gateway, for a person who tries things: a request at a time, and what came of each."""

from __future__ import annotations

import asyncio
import struct
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emm_pipeline.modbus.transport.tcp import ReadError, TcpTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from emm_pipeline.modbus.reading import GatewayLocks
    from emm_pipeline.readings import FailureKind, Request

LOCK_RETRY_S = 0.2
"""From one look at a gateway to which someone else talks to the next."""

_REOPEN_PAUSE_S = 0.5
"""Before a connection is tried once more: a gateway may need a moment to free the old one."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a request: the registers (0 to 65535 each), or how it failed and why. It took `seconds`."""

    seconds: float
    words: tuple[int, ...] = ()
    kind: FailureKind | None = None
    reason: str = ""
    exception_code: int | None = None


class Session:
    """One connection, opened when it is needed, and anew after any failure but an exception reply.

    So a late reply reaches nobody, and can never answer for another unit.
    """

    def __init__(self, host: str, port: int, *, timeout_s: float, pause_s: float = 0.0) -> None:
        self._host, self._port = host, port
        self.timeout_s = timeout_s
        """For connecting, and for each reply; may be changed between requests."""
        self._pause_s = pause_s
        self._connection: TcpTransport | None = None
        self.was_open = False
        """Whether there was a connection at any time."""
        self._last_exchange_s = float("-inf")

    async def open(self) -> float:
        """Connects, if there is no usable connection; returns how many seconds that took.

        Raises:
            ReadError: REFUSED.
        """
        if self._connection and self._connection.usable:
            return 0.0
        self.close()
        started = time.monotonic()
        try:
            await self._connect()
        except ReadError:
            if not self.was_open:
                raise
            await asyncio.sleep(_REOPEN_PAUSE_S)
            await self._connect()
        self.was_open = True
        return time.monotonic() - started

    async def _connect(self) -> None:
        self._connection = TcpTransport(self._host, self._port)
        await self._connection.open(self.timeout_s)

    async def ask(self, unit_id: int, request: Request) -> Reply:
        """Sends one request and awaits its answer, at least the pause after the one before.

        Raises:
            ReadError: REFUSED: there is no connection, so nothing was asked.
        """
        await asyncio.sleep(self._last_exchange_s + self._pause_s - time.monotonic())
        await self.open()
        assert self._connection  # noqa: S101 - open() has just made it
        started = time.monotonic()
        try:
            data = await self._connection.read(unit_id, request, self.timeout_s)
        except ReadError as err:
            if err.exception_code is None:
                self.close()
            return Reply(time.monotonic() - started, (), err.kind, str(err), err.exception_code)
        else:
            return Reply(time.monotonic() - started, struct.unpack(f">{request.count}H", data))
        finally:
            self._last_exchange_s = time.monotonic()

    def close(self) -> None:
        """Closes the connection; the next request opens another."""
        if self._connection:
            self._connection.close()
            self._connection = None


@asynccontextmanager
async def holding(locks: GatewayLocks, address: str, on_wait: Callable[[], None] | None = None) -> AsyncIterator[None]:
    """Holds the lock of the gateway `host:port`; waits as long as a poll has it, and says so once."""
    while not await locks.try_acquire(address):
        if on_wait:
            on_wait()
            on_wait = None
        await asyncio.sleep(LOCK_RETRY_S)
    try:
        yield
    finally:
        locks.release(address)
