"""The earlier replies of a gateway, used to recognize copies, late replies and replies without an id. Pure."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

from emm_pipeline.modbus.transport.lateness import LateReplies
from emm_pipeline.modbus.transport.memory import Unanswered

_REPLIES_KEPT = 64

COPY_LASTS_S = 2.0
"""Time for which a reply without an id may be a copy of an earlier, equal one."""


@dataclass(slots=True)
class ReplyHistory:
    """The replies of a gateway on this connection, and the properties of its transaction ids on all of them."""

    echoes_ids: bool = False
    """Whether any reply had the transaction id of its request: all later replies must then have it too."""
    is_without_ids: bool = False
    """Whether its replies have no transaction ids, or ids that do not belong to the requests."""
    sent_ids: set[bytes] = field(default_factory=set)
    """The first two bytes of each request: the transaction id, if the frames have one."""
    other_ids: set[int] = field(default_factory=set)
    """Transaction ids of replies on earlier connections that matched no request."""
    has_replied: bool = False
    """Whether the gateway has replied on this connection."""
    reply_size: int | None = None
    """Number of data bytes in the awaited reply; None if it is two for each register of the request."""
    unanswered: Unanswered = field(default_factory=Unanswered)
    """The requests without a reply, on earlier connections too."""
    late: LateReplies = field(default_factory=LateReplies)
    is_repeating: bool = False
    """Whether the request was answered before, and is repeated: an equal reply is no copy."""
    _ids_of_connection: set[int] = field(default_factory=set)
    _replies: deque[tuple[bytes, float]] = field(default_factory=lambda: deque(maxlen=_REPLIES_KEPT))

    def begin_connection(self) -> None:
        """Record that a link was opened: replies to earlier requests cannot arrive on it."""
        self.other_ids |= self._ids_of_connection
        self._ids_of_connection.clear()
        self._replies.clear()
        self.unanswered.begin_connection()
        self.has_replied = False

    def note_id(self, transaction_id: int) -> None:
        """Record that a reply had this transaction id instead of its request's."""
        self._ids_of_connection.add(transaction_id)

    def took(self, frame: bytes) -> None:
        """Record that a reply was accepted."""
        self.has_replied = True
        self._replies.append((frame, time.monotonic()))

    def copy_in(self, received: bytes) -> bytes | None:
        """Return the earlier reply of this connection with which the bytes begin; None if there is none."""
        return next((frame for frame, _ in self._replies if received.startswith(frame)), None)

    def begins_copy(self, received: bytes) -> bool:
        """Whether the bytes are the beginning of an earlier reply of this connection."""
        return any(frame.startswith(received) for frame, _ in self._replies)

    def was_just_taken(self, frame: bytes) -> bool:
        """Whether a reply without an id is equal to a very recent one, and may be a copy of it."""
        since = time.monotonic() - COPY_LASTS_S
        return not self.is_repeating and any(known == frame and at >= since for known, at in self._replies)
