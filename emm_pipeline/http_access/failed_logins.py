"""Count each client's failed logins within the last minute, and compute how long it must wait."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ALLOWED, WITHIN_S = 10, 60.0
"""After this number of failures within this time (s), a client's logins are refused until the oldest is older."""

_CLIENTS = 10_000
"""Maximum number of clients; beyond it, the one whose failure is the oldest is forgotten."""


class FailedLogins:
    """Counts failures by client, which may be any text.

    Args:
        clock: a monotonic clock in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def add(self, client: str) -> int:
        """Count a failure; return the number of the client's failures within WITHIN_S."""
        times = self._failures.setdefault(client, deque(maxlen=ALLOWED))
        self._failures.move_to_end(client)
        times.append(self._clock())
        while len(self._failures) > _CLIENTS:
            self._failures.popitem(last=False)
        return sum(one > self._clock() - WITHIN_S for one in times)

    def take_back(self, client: str) -> None:
        """Take back the last failure that was counted, because the login has succeeded."""
        times = self._failures.get(client)
        if times:
            times.pop()

    def wait_s(self, client: str) -> int:
        """Return for how many seconds the client's logins are refused; 0 if they are not."""
        times = self._failures.get(client)
        if times is None or len(times) < ALLOWED:
            return 0
        return max(0, round(times[0] + WITHIN_S - self._clock() + 0.5))


def network_of(address: str) -> str:
    """Return the key of a client: its IPv4 address, or its IPv6 /64 network, which usually belongs to one customer."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:  # noqa: PLR2004
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False))
