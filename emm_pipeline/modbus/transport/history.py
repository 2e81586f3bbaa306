"""The earlier replies of a gateway, by which copies, late replies and replies without an id are recognized. Pure."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

_REPLIES_KEPT = 64

COPY_LASTS_S = 2.0
"""For how long a reply that has no id may be a copy of an earlier one, if both are equal."""

_PATIENCE = 2.0
"""How many timeouts after a request a reply without id may still come in."""


@dataclass(slots=True)
class ReplyHistory:
    """The replies of a gateway on this connection, and the properties of its transaction ids on all of them."""

    echoes_ids: bool = False
    """Whether a reply had the transaction id of its request: from then on all must."""
    is_without_ids: bool = False
    """Whether its replies have no ids, or none that belong to the requests."""
    sent_ids: set[bytes] = field(default_factory=set)
    """The first two bytes of each request: where frames have a transaction id, it is there."""
    other_ids: set[int] = field(default_factory=set)
    """Transaction ids of replies on earlier connections that were those of no request."""
    has_replied: bool = False
    """On this connection."""
    reply_size: int | None = None
    """How many bytes of data the awaited reply has; None for two bytes for each register of the request."""
    _ids_of_connection: set[int] = field(default_factory=set)
    _replies: deque[tuple[bytes, float]] = field(default_factory=lambda: deque(maxlen=_REPLIES_KEPT))
    _unanswered: dict[tuple[int, ...], float] = field(default_factory=dict)

    def begin_connection(self) -> None:
        """A link was opened: what is received from now on belongs to its own requests."""
        self.other_ids |= self._ids_of_connection
        self._ids_of_connection.clear()
        self._replies.clear()
        self.has_replied = False

    def note_id(self, transaction_id: int) -> None:
        """A reply had this transaction id, and not that of its request."""
        self._ids_of_connection.add(transaction_id)

    def took(self, frame: bytes) -> None:
        """A reply was accepted."""
        self.has_replied = True
        self._replies.append((frame, time.monotonic()))

    def copy_in(self, received: bytes) -> bytes | None:
        """Return the reply of this connection with which the bytes begin; None where there is none."""
        return next((frame for frame, _ in self._replies if received.startswith(frame)), None)

    def begins_copy(self, received: bytes) -> bool:
        """Whether the bytes are the beginning of a reply of this connection."""
        return any(frame.startswith(received) for frame, _ in self._replies)

    def was_just_taken(self, frame: bytes) -> bool:
        """Whether a reply that has no id is equal to one of a moment ago, and may be a copy of it."""
        since = time.monotonic() - COPY_LASTS_S
        return any(known == frame and at >= since for known, at in self._replies)

    def got_no_reply(self, key: tuple[int, ...], waited_s: float) -> None:
        """Note a request without reply; `key` identifies a late one: unit id, function code, number of registers."""
        self._unanswered[key] = time.monotonic() + (_PATIENCE - 1) * waited_s

    def may_come_late(self, unit_id: int) -> bool:
        """Whether a reply of this unit may be a late one."""
        return any(key[0] == unit_id for key in self._unanswered)

    def safe_at(self, key: tuple[int, ...]) -> float:
        """When a reply that looks like this is not a late one any more, on the clock of `time.monotonic`."""
        return 0.0 if self.echoes_ids else self._unanswered.get(key, 0.0)
