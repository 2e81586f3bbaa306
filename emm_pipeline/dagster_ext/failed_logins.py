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
    """Counts failures by client. An IPv6 /64 network, which usually belongs to one customer, counts as one client.

    Args:
        clock: a monotonic clock in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def add(self, client: str) -> int:
        """Count a failure; return the number of the client's failures within WITHIN_S."""
        key = _key(client)
        times = self._failures.setdefault(key, deque(maxlen=ALLOWED))
        self._failures.move_to_end(key)
        times.append(self._clock())
        while len(self._failures) > _CLIENTS:
            self._failures.popitem(last=False)
        return sum(one > self._clock() - WITHIN_S for one in times)

    def wait_s(self, client: str) -> int:
        """Return for how many seconds the client's logins are refused; 0 if they are not."""
        times = self._failures.get(_key(client))
        if times is None or len(times) < ALLOWED:
            return 0
        return max(0, round(times[0] + WITHIN_S - self._clock() + 0.5))

    def forget(self, client: str) -> None:
        """Forget a client's failures, because it has logged in."""
        self._failures.pop(_key(client), None)


def _key(client: str) -> str:
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    if address.version == 4:  # noqa: PLR2004
        return client
    return str(ipaddress.ip_network((address, 64), strict=False))
