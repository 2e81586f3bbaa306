"""The interface of readings stores."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from emm_pipeline.stores.points import PointBatch


@dataclass(frozen=True, slots=True)
class RejectedPoints:
    """Points that a store rejects permanently, with the reason in one line."""

    points: PointBatch
    reason: str


class ReadingsStore(Protocol):
    """Stores batches of points. Writing the same points again changes nothing."""

    def write(self, points: PointBatch, *, until: float = math.inf) -> list[RejectedPoints]:
        """Store all points, even if some are rejected.

        Args:
            points: a batch from `shaping.shape_points`.
            until: the value of `time.monotonic()` by which the write must end.

        Returns:
            The points that the store rejects because of their content. All others are stored.

        Raises:
            StoreError: the store did not accept all points. Writing the same batch again later may succeed.
            StoreAccessError: the same, but a person has to correct something first.
        """

    def ping(self) -> None:
        """Check whether the store would accept points now.

        Raises:
            StoreError: it would not; the message says why.
        """

    def close(self) -> None:
        """Close the connections."""
