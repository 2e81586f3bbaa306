"""What the pipeline asks of a store."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class RejectedPoint:
    """A line that a store will never take, and why, in one line."""

    line: str
    reason: str


class ReadingsStore(Protocol):
    """Takes points as line protocol, one per line, in milliseconds. Writing the same ones again changes nothing."""

    def write(self, lines: Sequence[str], *, until: float = math.inf) -> list[RejectedPoint]:
        """Stores all lines, whatever becomes of some of them.

        Args:
            lines: as `points.reading_lines` and `points.poll_lines` make them.
            until: the value of `time.monotonic()` by which it has to be done.

        Returns:
            What the store refused for what it contains, and will again. It has all other lines.

        Raises:
            StoreError: the store did not take everything, and may later: write the same again.
            StoreAccessError: the same, and not before a person has acted.
        """

    def ping(self) -> None:
        """Asks whether the store would take points now.

        Raises:
            StoreError: it would not, and why.
        """

    def close(self) -> None:
        """Gives back connections."""
