"""A session with a gateway: requests over its transport, one at a time, with pauses, retries and reopening.

Polls, `emm scan`, `emm read`, `emm meters check`, `emm watch` and discovery all talk to gateways by it.
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
"""Before each further attempt to open a transport that was open before: a gateway may need a moment to free it."""


class Timing(NamedTuple):
    """How patiently a unit is asked: `timeout_s` is for opening the transport, and for each reply."""

    timeout_s: float
    request_pause_s: float = 0.0

    @classmethod
    def of(cls, meter_type: MeterType) -> Timing:
        """The timing that meters of a type want."""
        return cls(meter_type.timeout_s, meter_type.request_pause_s)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a request: the registers (0 to 65535 each), or how it failed and why. It took `seconds`."""

    seconds: float
    words: tuple[int, ...] = ()
    kind: FailureKind | None = None
    reason: str = ""
    exception_code: int | None = None


class Session:
    """Opens the transport when it is needed, and again after any failure but an exception reply.

    So a late reply cannot be mistaken for the next one, nor for another unit's.
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
        """May be changed between requests."""
        self._pace = pace
        self._reopen_pauses_s = reopen_pauses_s
        self._transport: Transport | None = None
        self._was_open = False
        self._last_exchange_s = float("-inf")

    async def open(self) -> None:
        """Opens the transport, unless it is open. One that was open before is tried again after each of the pauses.

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
        """Sends a request and waits for its reply, at least the pause after the exchange before.

        If the gateway closes the connection in place of a reply, the request is sent a second time over a new one:
        many gateways close connections after each reply or when idle, and the request may cross with that.

        Args:
            unit_id: The unit that is to reply.
            request: What to read.
            on_send: Called each time that the request is sent.

        Returns:
            The words of a `RegisterBlock`: the registers as on the wire, and a word for each bit.

        Raises:
            ConnectError: The gateway cannot be reached.
            ReadError: The request brought no registers.
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
            data = await self._transport.exchange(unit_id, request, self.timing.timeout_s)
            return bits_as_words(data, request.count) if request.function_code.reads_bits else data
        except ReadError as err:
            if err.kind is not FailureKind.EXCEPTION:
                self.close()
            raise
        finally:
            self._last_exchange_s = time.monotonic()

    async def read(self, unit_id: int, request: Request) -> Reply:
        """Sends a request and returns what came of it, for a person who tries things.

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
        return Reply(time.monotonic() - sent_s, struct.unpack(f">{request.words}H", data))

    def close(self) -> None:
        """Closes the transport; the next request opens another."""
        if self._transport:
            self._transport.close()
            self._transport = None


def bits_as_words(data: bytes, count: int) -> bytes:
    """Returns a big-endian word, 0 or 1, for each of the first `count` bits; the lowest bit of a byte is the first."""
    bits = int.from_bytes(data, "little")
    return b"".join(b"\0\1" if bits >> place & 1 else b"\0\0" for place in range(count))
