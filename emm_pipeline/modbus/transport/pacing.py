"""Timeouts and pauses of requests; the rate of new connections, and their number, limited by file descriptors."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from emm_pipeline.fleet import MeterType

CONNECTION_SPACING_S = 0.00025
"""Seconds between two new connections: a burst of hundreds overloads small switches and routers."""

MOST_CONNECTIONS = 2000
"""Number of connections at once if MAX_CONNECTIONS is not set; each takes some tens of kilobytes of memory."""

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
    """Lets one caller continue every `spacing_s` seconds; a caller that comes later than that does not wait."""

    def __init__(self, spacing_s: float = CONNECTION_SPACING_S) -> None:
        self._spacing_s = spacing_s
        self._next_s = 0.0

    async def wait(self) -> None:
        """Return when it is the caller's turn, in the order of the calls."""
        now = time.monotonic()
        turn = max(now, self._next_s)
        self._next_s = turn + self._spacing_s
        if turn > now:
            await asyncio.sleep(turn - now)


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
