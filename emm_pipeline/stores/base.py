"""What the pipeline asks of a store."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from emm_pipeline.stores.points import PointBatch


@dataclass(frozen=True, slots=True)
class RejectedPoints:
    """Points that a store will never take, and why, in one line."""

    points: PointBatch
    reason: str


class ReadingsStore(Protocol):
    """Takes batches of points. Writing the same points again changes nothing."""

    def write(self, points: PointBatch, *, until: float = math.inf) -> list[RejectedPoints]:
        """Store all points, even if some are rejected.

        Args:
            points: as `shaping.shape_points` makes them.
            until: the value of `time.monotonic()` by which it has to be done.

        Returns:
            The points that the store rejects for their content, and would reject again. It has all others.

        Raises:
            StoreError: the store did not take everything, and may later: write the same again.
            StoreAccessError: the same, but a person has to act first.
        """

    def ping(self) -> None:
        """Ask whether the store would take points now.

        Raises:
            StoreError: it would not, and why.
        """

    def close(self) -> None:
        """Give back connections."""
