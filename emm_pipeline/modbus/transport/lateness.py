"""Replies that arrive after their timeout, over a link that is kept open for them. Pure."""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass, field

_HEADER = struct.Struct(">HHHB")
"""Transaction id, protocol id, length of what follows the length field, unit id."""

_LENGTH_ENDS = 6


@dataclass(slots=True)
class LateReplies:
    """The requests whose timeout has passed, and the units whose replies came later.

    Without `listens`, a link is closed after a timeout, and nothing is recorded.
    """

    listens: bool = False
    units: dict[int, float] = field(default_factory=dict)
    """Units whose replies were late, and the time in seconds from their requests."""
    _asked_at: dict[int, float] = field(default_factory=dict)
    _units_by_id: dict[int, int] = field(default_factory=dict)

    def await_late(self, frame: bytes, *, has_ids: bool, sent_at: float) -> None:
        """Record that no reply came in time to the request in `frame`, which was sent at `sent_at`."""
        if has_ids:
            transaction_id, _, _, unit_id = _HEADER.unpack_from(frame)
            self._units_by_id[transaction_id] = unit_id
        else:
            unit_id = frame[0]
        self._asked_at[unit_id] = sent_at

    def note(self, unit_id: int) -> None:
        """Record that a late reply of a unit came."""
        if self.listens and (asked_at := self._asked_at.pop(unit_id, None)) is not None:
            self.units[unit_id] = time.monotonic() - asked_at

    def drop_frames(self, received: bytes) -> bytes:
        """Drop late replies with transaction ids from the beginning of the bytes, and record them."""
        while len(received) >= _HEADER.size:
            transaction_id, protocol_id, length, unit_id = _HEADER.unpack_from(received)
            end = _LENGTH_ENDS + length
            if protocol_id or self._units_by_id.get(transaction_id) != unit_id or len(received) < end:
                break
            self.note(unit_id)
            received = received[end:]
        return received

    def take(self) -> dict[int, float]:
        """Return the units whose replies were late since the last call."""
        units, self.units = self.units, {}
        return units
