"""Attribute replies without an id to their requests, if earlier requests have no reply yet. Pure.

If `n` requests have no reply yet that would look the same, a reply may belong to any of them. The request is then
repeated: of equal replies, at most `n` belong to others, so `n + 1` equal ones prove the registers, in whatever order
the replies arrive.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emm_pipeline.modbus.transport.base import ReadError
from emm_pipeline.readings import FailureKind

if TYPE_CHECKING:
    from emm_pipeline.modbus.transport.base import FramedReply
    from emm_pipeline.modbus.transport.memory import Look, Unanswered

MOST_DIFFERENT = 4
"""Maximum number of replies beyond the necessary ones. Values that change may differ each time."""

_UNCERTAIN = (
    "the replies differ, and a late reply to an earlier request cannot be told from the right one; the value is "
    "dropped: set a longer timeout_s"
)


@dataclass(slots=True)
class Verification:
    """The replies to one request, which is repeated until one of them is certain."""

    look: Look
    unanswered: Unanswered
    _registers_needed: int = field(init=False)
    _exceptions_needed: int = field(init=False)
    _seen: list[tuple[bytes, int | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._registers_needed = 1 + self.unanswered.count(self.look)
        self._exceptions_needed = 1 + self.unanswered.count_exceptions(self.look)

    def is_certain(self, reply: FramedReply) -> bool:
        """Record a reply; return whether it is proven to be one to this request.

        Raises:
            ReadError: Too many replies differ.
        """
        is_exception = reply.exception_code is not None
        if reply.has_id or not is_exception or self._exceptions_needed == 1:
            self.unanswered.remove(self.look)
        if reply.has_id:
            return True
        content = reply.registers, reply.exception_code
        self._seen.append(content)
        needed = self._exceptions_needed if is_exception else self._registers_needed
        if self._seen.count(content) >= needed:
            return True
        if len(set(self._seen)) > 1:
            self.unanswered.note_lateness(self.look.unit_id)
        if len(self._seen) >= needed + MOST_DIFFERENT:
            raise ReadError(FailureKind.TIMEOUT, _UNCERTAIN)
        return False
