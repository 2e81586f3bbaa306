"""Reading from the readings stores: the interface, and its records. `stores/NAME/charts.py` implement it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from emm_pipeline.stores.points import PointBatch


@dataclass(frozen=True, slots=True)
class Series:
    """A series of a meter: its measurement's name and unit."""

    meter_id: int
    measurement: str
    unit: str | None


@dataclass(frozen=True, slots=True)
class Step:
    """The values of a series in one interval, which begins at `time` (seconds since 1970, UTC)."""

    time: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class FailedPoll:
    """A poll that did not read the meter; `time` is aware."""

    time: datetime
    error: str | None


class ChartData(Protocol):
    """Reads points of a store. Each method raises StoreError if the store does not answer within seconds."""

    def steps(self, series: Series, start: datetime, end: datetime, step_s: int) -> Sequence[Step]:
        """Return the values of a series from `start` to before `end` (aware), one for each interval that has any."""

    def failed_polls(self, meter_id: int, start: datetime, limit: int) -> Sequence[FailedPoll]:
        """Return the latest failed polls of a meter since `start` (aware), newest first."""

    def latest(self, meter_ids: Collection[int], since: datetime) -> PointBatch:
        """Return the last point since `since` (aware) of each series of these meters."""
