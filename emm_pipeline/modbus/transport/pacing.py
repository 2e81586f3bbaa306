"""Limit the rate of new connections, and their number to the file descriptors that the process may open."""

from __future__ import annotations

import asyncio
import os
import resource
import time

CONNECTION_SPACING_S = 0.00025
"""Seconds between two new connections: a burst of hundreds overloads small switches and routers."""

_SPARE_DESCRIPTORS = 64
"""Descriptors reserved for the process' other uses: databases, files, name servers."""


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


def allowed_connections(wanted: int) -> int:
    """Return how many of the wanted connections the process can open, at least one.

    Raises the soft limit of open files as far as needed and as the hard limit allows.
    """
    reserved = _open_descriptors() + _SPARE_DESCRIPTORS
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
