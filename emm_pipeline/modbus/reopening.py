"""The part of a session that opens its transport, and opens it again after failures."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from emm_pipeline.event_loop import sleep_until
from emm_pipeline.modbus.transport.base import ConnectError
from emm_pipeline.modbus.transport.choosing import transport_to
from emm_pipeline.modbus.transport.memory import memory_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from emm_pipeline.fleet import GatewayAddress
    from emm_pipeline.modbus.transport.base import Transport
    from emm_pipeline.modbus.transport.pacing import Pace, Timing

REOPEN_PAUSES_S = (0.5,)
"""Pauses before attempts to reopen a transport: a gateway may need a moment to release the previous connection."""

_FREES_LATE = (
    "the gateway takes no new connection after it had one: set reopen_pause_s or keep_connection of the type with "
    "emm types set, and stop other programs that are connected to it"
)


class ReopenedTransport:
    """The transport of a session. It is opened when it is needed."""

    def __init__(
        self, gateway: GatewayAddress, timing: Timing, pace: Pace | None, reopen_pauses_s: Sequence[float]
    ) -> None:
        self.gateway = gateway
        self.timing = timing
        """May be changed between requests."""
        self._memory = memory_of(gateway)
        self._pace = pace
        self._reopen_pauses_s = reopen_pauses_s
        self._transport: Transport = transport_to(gateway)
        self.was_open = False
        """Whether the transport was ever open."""
        self._is_fresh = True
        """Whether the transport was opened, and no request sent since."""
        self._closed_s = float("-inf")
        self._last_exchange_s = float("-inf")

    @property
    def sends_first_request(self) -> bool:
        """Whether the next request is the first one of its connection."""
        return self._is_fresh or not self._transport.is_open

    @property
    def loses_first_requests(self) -> bool | None:
        """Whether a connection's first request gets no reply, but the same one does when it is sent again.

        None if this process does not know it yet.
        """
        return self._memory.loses_first_requests

    async def open(self) -> None:
        """Open the transport, unless it is open. If it was open before, retry after each of the pauses.

        Raises:
            ConnectError: The gateway cannot be reached.
        """
        if self._transport.is_open:
            return
        self.close()
        for pause_s in self._reopen_pauses_s if self.was_open else ():
            try:
                await self._open()
            except ConnectError:
                await asyncio.sleep(pause_s)
            else:
                return
        try:
            await self._open()
        except ConnectError as err:
            if self.was_open and not err.advice:
                err.advice = _FREES_LATE
            raise

    async def _open(self) -> None:
        if self.was_open:
            await sleep_until(max(self._closed_s, self._last_exchange_s) + self.timing.reopen_pause_s)
        if self._pace:
            await self._pace.wait()
        await self._transport.open(self.timing.timeout_s)
        self.was_open = self._is_fresh = True
        if self.timing.connect_pause_s:
            await asyncio.sleep(self.timing.connect_pause_s)

    def close(self) -> None:
        """Close the transport; the next request opens another."""
        if self._transport.is_open:
            self._closed_s = time.monotonic()
        self._transport.close()
