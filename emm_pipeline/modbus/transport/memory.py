"""State of gateways that this process knows from earlier connections: lost requests and those without a reply. Pure.

A reply without a transaction id (RTU) may arrive long after its request, even on a newer connection, and looks like
that to another request. So requests without a reply are remembered until no reply to them can arrive any more.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from emm_pipeline.fleet import GatewayAddress

LATEST_TIMEOUTS = 8.0
"""Time after a request, in timeouts, in which its reply may arrive on a newer connection."""

LATEST_AT_LEAST_S = 10.0

SUSPECT = 3.0
"""Multiple of that time after which it is no longer assumed that replies belong to earlier requests, if none was late.

If a reply is taken for that to a later, equal request, it is the later one that has no reply yet, and so on.
"""


class Look(NamedTuple):
    """All that a reply without an id shows of its request; `size` is the number of its data bytes."""

    unit_id: int
    function_code: int
    size: int


@dataclass(slots=True)
class _Sent:
    """A request without a reply; the times are those of `time.monotonic`."""

    latest_s: float
    """Seconds after which no reply can arrive any more."""
    impossible_from: float
    suspect_until: float
    unlikely_from: float = 0.0


@dataclass(slots=True)
class Unanswered:
    """The requests of a gateway without a reply, by the look of their replies."""

    _sent: dict[Look, list[_Sent]] = field(default_factory=lambda: defaultdict(list))

    def __bool__(self) -> bool:
        """Whether any request has no reply."""
        return any(self._sent.values())

    def begin_connection(self) -> None:
        """Forget the requests to which no reply can arrive any more."""
        if not self._sent:
            return
        now = time.monotonic()
        for look in list(self._sent):
            self._sent[look] = [
                sent for sent in self._sent[look] if min(sent.impossible_from, sent.suspect_until) > now
            ]
            if not self._sent[look]:
                del self._sent[look]

    def add(self, look: Look, timeout_s: float) -> None:
        """Record that a request is sent."""
        now = time.monotonic()
        latest_s = max(LATEST_TIMEOUTS * timeout_s, LATEST_AT_LEAST_S)
        self._sent[look].append(_Sent(latest_s, now + latest_s, now + SUSPECT * latest_s))

    def note_timeout(self, look: Look, timeout_s: float) -> None:
        """Record that no reply came in time to the request that was sent last."""
        if requests := self._sent.get(look):
            requests[-1].unlikely_from = time.monotonic() + timeout_s

    def remove(self, look: Look) -> None:
        """Record that a reply with this look was received, to whichever request: the latest ones remain."""
        if not (requests := self._sent.get(look)):
            return
        answered = requests.pop(0)
        if requests:
            requests[-1].suspect_until = min(requests[-1].suspect_until, answered.suspect_until)

    def note_lateness(self, unit_id: int) -> None:
        """Record that a reply of a unit was late: its others may be as late."""
        now = time.monotonic()
        for look, requests in self._sent.items():
            for sent in requests if look.unit_id == unit_id else ():
                sent.suspect_until = now + SUSPECT * sent.latest_s

    def count(self, look: Look) -> int:
        """Return how many requests have no reply that would have this look."""
        return len(self._sent.get(look, ()))

    def count_exceptions(self, look: Look) -> int:
        """Return how many requests have no reply that, if it is an exception, cannot be told from that of `look`."""
        return sum(len(sent) for each, sent in self._sent.items() if each[:2] == look[:2])

    def safe_at(self, look: Look) -> float:
        """Return the time (`time.monotonic`) from which such a late reply is unlikely."""
        return max((sent.unlikely_from for sent in self._sent.get(look, ())), default=0.0)


@dataclass(slots=True)
class GatewayMemory:
    """The state of a gateway."""

    unanswered: Unanswered = field(default_factory=Unanswered)
    loses_first_requests: bool | None = None
    """Whether it loses the first request of each connection; None if that is unknown."""


_memories: dict[tuple[str, int], GatewayMemory] = {}


def memory_of(gateway: GatewayAddress) -> GatewayMemory:
    """Return what this process knows of a gateway. It is kept until the process ends."""
    place = gateway.host, gateway.port
    if (memory := _memories.get(place)) is None:
        memory = _memories[place] = GatewayMemory()
    return memory


def forget_gateways() -> None:
    """Forget everything about all gateways."""
    _memories.clear()
