"""Requests of one meter reading without a reply, and the conclusions from them. Pure.

Some devices send nothing, or close the connection, instead of exception 2 or 3. Silence means this only if the unit
replies to other requests, before and afterwards: otherwise it may be off.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emm_pipeline.modbus.splitting import TrackedRequest
from emm_pipeline.readings import FailureKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from emm_pipeline.readings import Failure

MOST_SILENCES = 8
"""Maximum number of requests without a reply in one meter reading, if the unit replies to others."""

_IN_A_ROW = 2
"""Number of requests without a reply after which an earlier request is repeated, to see if the unit still replies."""

SILENCE = frozenset({FailureKind.TIMEOUT, FailureKind.CLOSED})


@dataclass(slots=True)
class Silences:
    """The requests without reply, and whether the unit replies at all."""

    has_replied: bool = False
    first: Failure | None = None
    """Why the first request got no reply."""
    sign_of_life: TrackedRequest | None = None
    """A request that was answered before, sent again to see whether the unit still replies."""
    _count: int = 0
    _unconfirmed: list[TrackedRequest] = field(default_factory=list)
    """Requests without reply since the last reply."""

    def note_reply(self) -> None:
        """Record a reply: the unit is not off, so the requests before had no reply because of their registers."""
        self.has_replied = True
        for each in self._unconfirmed:
            each.is_confirmed = True
        self._unconfirmed.clear()

    def add(self, tracked: TrackedRequest, failure: Failure) -> bool:
        """Record a request without a valid reply; return whether it may be split, and whether others may be sent."""
        self._count += 1
        if failure.kind not in SILENCE or not self.has_replied or tracked is self.sign_of_life:
            return False
        self.first = self.first or failure
        if self._count > MOST_SILENCES:
            return False
        tracked.is_confirmed = False
        self._unconfirmed.append(tracked)
        return True

    @property
    def unconfirmed(self) -> Failure | None:
        """Why requests had no reply, if it is unknown whether the unit was off."""
        return self.first if self._unconfirmed else None

    def look_for_a_sign_of_life(self, tracked: Iterable[TrackedRequest], *, is_last: bool) -> TrackedRequest | None:
        """Return a request that was answered before, if one should be sent now; `is_last`: nothing else is left."""
        if len(self._unconfirmed) < _IN_A_ROW and not is_last:
            return None
        answered = [leaf.request for each in tracked for leaf in each.leaves if leaf.was_read]
        if answered:
            self.sign_of_life = TrackedRequest(min(answered, key=lambda request: request.count))
            return self.sign_of_life
        return None
