"""Timeouts and pauses of requests; the rate of new connections, and their number, limited by file descriptors."""

from __future__ import annotations

import asyncio
import os
import resource
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from emm_pipeline.fleet import MeterType

CONNECTIONS_AT_ONCE, CONNECTIONS_PAUSE_S = 10, 0.001
"""Number of connections that are opened at once, and the pause in seconds before the next ones: a burst of hundreds
overloads small switches and routers."""

MOST_CONNECTIONS = 10_000
"""Number of connections at once if MAX_CONNECTIONS is not set; each takes about 12 kB of memory."""

_SPARE_DESCRIPTORS = 64
"""Descriptors reserved for the process' other uses: databases, files, name servers."""


class Timing(NamedTuple):
    """Timeout and pauses of the requests to a unit, in seconds: `timeout_s` is for opening the transport, and a reply.

    `connect_pause_s` is between opening the transport and the first request, `reopen_pause_s` between closing it and
    opening it again.
    """

    timeout_s: float
    request_pause_s: float = 0.0
    connect_pause_s: float = 0.0
    reopen_pause_s: float = 0.0

    @classmethod
    def of(cls, meter_type: MeterType) -> Timing:
        """Return the timing for meters of a type."""
        return cls(
            meter_type.timeout_s, meter_type.request_pause_s, meter_type.connect_pause_s, meter_type.reopen_pause_s
        )


class Pace:
    """Lets a burst of callers continue, and the next burst a moment later.

    One timer serves all callers that wait, because a timer for each would take longer than the rest of opening.
    """

    def __init__(self, at_once: int = CONNECTIONS_AT_ONCE, pause_s: float = CONNECTIONS_PAUSE_S) -> None:
        self._at_once, self._pause_s = at_once, pause_s
        self._left = at_once
        """Number of callers that need not wait."""
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self) -> None:
        """Return when it is the caller's turn, in the order of the calls."""
        loop = asyncio.get_running_loop()
        if self._timer is None:
            self._timer = loop.call_later(self._pause_s, self._admit)
        if self._left:
            self._left -= 1
            return
        turn = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _admit(self) -> None:
        """Let the next callers continue."""
        self._left, self._timer = self._at_once, None
        while self._left and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # the caller was not cancelled
                turn.set_result(None)
                self._left -= 1
        if self._left < self._at_once:
            self._timer = asyncio.get_running_loop().call_later(self._pause_s, self._admit)


def connections_for(gateways: int, wanted: int | None, already_open: int = 0) -> int:
    """Return the number of connections to open at once to this number of gateways, at least one.

    Args:
        gateways: Number of gateways to read.
        wanted: MAX_CONNECTIONS; None if it is not set: as many as the process can open, but at most MOST_CONNECTIONS.
        already_open: Number of these connections that are open already.
    """
    return allowed_connections(max(1, min(gateways, wanted or MOST_CONNECTIONS)), already_open)


def allowed_connections(wanted: int, already_open: int = 0) -> int:
    """Return how many of the wanted connections the process can have, at least one; some may be open already.

    Raises the soft limit of open files as far as needed and as the hard limit allows.
    """
    if wanted <= already_open:
        return wanted
    reserved = _open_descriptors() - already_open + _SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < reserved + wanted:
        soft = reserved + wanted if hard == resource.RLIM_INFINITY else min(hard, reserved + wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft - reserved))


def _open_descriptors() -> int:
    for listing in ("/proc/self/fd", "/dev/fd"):  # Linux; macOS and the BSDs
        try:
            return len(os.listdir(listing))  # noqa: PTH208 - not a folder of files
        except OSError:
            continue
    return 0
