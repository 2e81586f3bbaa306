"""A limit for the rate of messages: brokers drop messages for clients that do not read fast enough (pure)."""

from __future__ import annotations

from dataclasses import dataclass, field

BURST_S = 0.5
"""Messages of this time (s) may be sent at once."""


@dataclass(slots=True)
class Pace:
    """At most `per_s` messages a second; times are those of a monotonic clock."""

    per_s: float
    _left: float = field(default=0.0, init=False)
    _at: float | None = field(default=None, init=False)

    def left(self, now: float) -> int:
        """Return how many messages may be sent now."""
        most = self.per_s * BURST_S
        gained = most if self._at is None else self.per_s * (now - self._at)
        self._left = min(most, self._left + gained)
        self._at = now
        return int(self._left)

    def use(self, messages: int) -> None:
        """Record that messages were sent; there may be a few more than were left."""
        self._left -= messages
