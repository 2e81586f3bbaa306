"""A session with a gateway: requests over its transport, one at a time, with pauses, retries and reopening.

Polls, discovery, `emm scan`, `emm read`, `emm meters check` and `emm watch` all use sessions.
"""

from __future__ import annotations

import asyncio
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from emm_pipeline.event_loop import sleep_until
from emm_pipeline.modbus.transport.base import ConnectError, ReadError
from emm_pipeline.modbus.transport.choosing import transport_to
from emm_pipeline.readings import FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from emm_pipeline.fleet import GatewayAddress, MeterType
    from emm_pipeline.modbus.transport.base import Transport
    from emm_pipeline.modbus.transport.pacing import Pace
    from emm_pipeline.readings import Request

REOPEN_PAUSES_S = (0.5,)
"""Pauses before attempts to reopen a transport: a gateway may need a moment to release the previous connection."""


class Timing(NamedTuple):
    """Timeout and pause for requests to a unit; `timeout_s` applies to opening the transport and to each reply."""

    timeout_s: float
    request_pause_s: float = 0.0

    @classmethod
    def of(cls, meter_type: MeterType) -> Timing:
        """Return the timing for meters of a type."""
        return cls(meter_type.timeout_s, meter_type.request_pause_s)


@dataclass(frozen=True, slots=True)
class Reply:
    """The result of a request: the registers (0 to 65535 each), or the failure; it took `seconds`."""

    seconds: float
    words: tuple[int, ...] = ()
    kind: FailureKind | None = None
    reason: str = ""
    exception_code: int | None = None


class Session:
    """Opens the transport when it is needed, and reopens it after any failure except an exception reply.

    Therefore a late reply cannot be mistaken for the next one or for another unit's.
    """

    def __init__(
        self,
        gateway: GatewayAddress,
        timing: Timing,
        *,
        pace: Pace | None = None,
        reopen_pauses_s: Sequence[float] = REOPEN_PAUSES_S,
    ) -> None:
        self.gateway = gateway
        self.timing = timing
        """The timing, which may be changed between requests."""
        self._pace = pace
        self._reopen_pauses_s = reopen_pauses_s
        self._transport: Transport | None = None
        self._was_open = False
        self._last_exchange_s = float("-inf")

    async def open(self) -> None:
        """Open the transport, unless it is open. If it was open before, retry after each of the pauses.

        Raises:
            ConnectError: The gateway cannot be reached.
        """
        if self._transport and self._transport.is_open:
            return
        self.close()
        for pause_s in self._reopen_pauses_s if self._was_open else ():
            try:
                await self._open()
            except ConnectError:
                await asyncio.sleep(pause_s)
            else:
                return
        await self._open()

    async def _open(self) -> None:
        if self._pace:
            await self._pace.wait()
        self._transport = transport_to(self.gateway)
        await self._transport.open(self.timing.timeout_s)
        self._was_open = True

    async def exchange(self, unit_id: int, request: Request, on_send: Callable[[], None]) -> bytes:
        """Send a request and wait for its reply; before that, wait for the pause after the previous exchange.

        If the gateway closes the connection instead of replying, the request is sent a second time over a new
        connection: many gateways close connections after each reply or when idle, possibly just when the request is
            sent.

        Args:
            unit_id: The unit id.
            request: The registers to read.
            on_send: Called each time that the request is sent.

        Returns:
            The registers as received: two bytes for each of `request.count` registers, the high byte first.

        Raises:
            ConnectError: The gateway cannot be reached.
            ReadError: The request failed.
        """
        try:
            return await self._exchange(unit_id, request, on_send)
        except ReadError as err:
            if err.kind is not FailureKind.CLOSED:
                raise
        return await self._exchange(unit_id, request, on_send)

    async def _exchange(self, unit_id: int, request: Request, on_send: Callable[[], None]) -> bytes:
        if self.timing.request_pause_s:
            await sleep_until(self._last_exchange_s + self.timing.request_pause_s)
        await self.open()
        assert self._transport  # noqa: S101 - open() has just made it
        on_send()
        try:
            return await self._transport.exchange(unit_id, request, self.timing.timeout_s)
        except ReadError as err:
            if err.kind is not FailureKind.EXCEPTION:
                self.close()
            raise
        finally:
            self._last_exchange_s = time.monotonic()

    async def read(self, unit_id: int, request: Request) -> Reply:
        """Send a request and return its result, including failures, for the commands that a person uses.

        Raises:
            ConnectError: The gateway cannot be reached.
        """
        sent_s = 0.0

        def on_send() -> None:
            nonlocal sent_s
            sent_s = time.monotonic()

        try:
            data = await self.exchange(unit_id, request, on_send)
        except ReadError as err:
            return Reply(time.monotonic() - sent_s, (), err.kind, str(err), err.exception_code)
        return Reply(time.monotonic() - sent_s, struct.unpack(f">{request.count}H", data))

    def close(self) -> None:
        """Close the transport; the next request opens a new one."""
        if self._transport:
            self._transport.close()
            self._transport = None
