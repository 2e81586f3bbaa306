"""The last requests to a meter: companions once more, then its labels. Pure."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from emm_pipeline.modbus.labels import decode_labels
from emm_pipeline.readings import BUSY_EXCEPTIONS, RegisterBlock

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from emm_pipeline.fleet import Register
    from emm_pipeline.readings import Request


class LastRequests:
    """The requests that come last, and the replies to those for labels, which affect neither values nor failures.

    `confirmations` read companions a second time (see `planning.plan_confirmations`); `labels` read texts about the
    meter.
    """

    def __init__(self, confirmations: Iterable[Request] = (), labels: Sequence[Request] = ()) -> None:
        self._left = deque((*confirmations, *labels))
        self._labels = len(labels)
        self._label_blocks: list[RegisterBlock] = []
        self.notice: str | None = None
        """Why labels were not read."""

    @property
    def next(self) -> Request | None:
        """The next request; None if none is left."""
        return self._left[0] if self._left else None

    @property
    def is_at_labels(self) -> bool:
        """Whether the next request is for labels."""
        return 0 < len(self._left) <= self._labels

    def pop(self) -> Request:
        """Remove the next request, and return it."""
        return self._left.popleft()

    def take_label(self, data: bytes) -> None:
        """Keep the registers that the unit sent in reply to the next request, which is for labels."""
        self._label_blocks.append(RegisterBlock(self.pop(), data))

    def fail_label(self, reason: str, exception_code: int | None) -> None:
        """Record that the next request, for labels, failed. It is sent again in a day; if busy, at the next poll."""
        self.pop()
        if exception_code in BUSY_EXCEPTIONS:
            self._label_blocks.clear()
            self.clear()
        else:
            self.notice = f"labels of the meter were not read: {reason}"

    def clear(self) -> None:
        """Drop the requests that are left."""
        self._left.clear()

    def labels_of(self, registers: Iterable[Register]) -> dict[str, str] | None:
        """Return the texts that were read; None if no request was sent, so that the next poll sends one."""
        if not self._label_blocks and self.notice is None:
            return None
        return decode_labels(registers, self._label_blocks)


NOTHING_LAST = LastRequests()
"""No requests that come last. It never changes, so all meters without any share it."""
