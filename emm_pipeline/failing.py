"""Meters whose readings fail. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

ASKED_LESS_AFTER = 3
"""Number of failed readings in a row after which a meter is read less often."""


@dataclass(frozen=True, slots=True)
class FailingMeter:
    """A meter whose last reading failed. Times are aware.

    `failures` counts the samples in a row, `since` is when the first of them was due, `reason` says why the last one
    failed, `silent` that nothing replied then. Before `next_attempt_at` it is not asked on schedule.
    """

    meter_id: int
    failures: int
    since: datetime
    reason: str
    next_attempt_at: datetime | None = None
    silent: bool = False

    def is_due(self, due: datetime) -> bool:
        """Whether the meter is read at this due time."""
        return self.next_attempt_at is None or self.next_attempt_at <= due

    @property
    def keeps_failing(self) -> bool:
        """Whether it has failed often enough to be read less often."""
        return self.failures >= ASKED_LESS_AFTER
