"""What the pipeline asks of a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from emm_pipeline.readings import PollRecord


class ReadingsStore(Protocol):
    """Takes readings and poll records. Writing the same ones again changes nothing."""

    def write(self, readings: pd.DataFrame, polls: Sequence[PollRecord]) -> None:
        """Stores all rows, whatever becomes of some of them.

        Args:
            readings: columns READING_COLUMNS; rows whose value is not finite are left out.
            polls: points of `emm_poll`.

        Raises:
            StoreError: the store did not take everything, and may later: write the same again.
            RefusedPointsError: the store refused some points for what they contain, and will again. It has all others.
        """

    def ping(self) -> None:
        """Asks whether the store answers.

        Raises:
            StoreError: it does not, and why.
        """

    def close(self) -> None:
        """Gives back connections."""
