"""The results of reading each meter as columns: a run's steps pass them on and add them up (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, Self, overload

import numpy as np

from emm_pipeline.readings import PollPoint
from emm_pipeline.stores.points import Polls

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from numpy.typing import NDArray

EPOCH = datetime.fromtimestamp(0, UTC)
_MILLISECOND = timedelta(milliseconds=1)


def since_epoch(time: datetime) -> int:
    """Convert an aware time to milliseconds since 1970."""
    return (time - EPOCH) // _MILLISECOND


@dataclass(frozen=True, slots=True, eq=False)
class PollPoints(Sequence[PollPoint]):
    """Poll points as columns; a sequence of `PollPoint` to those who need one. Times are whole milliseconds.

    `polls` are what is stored of them, with errors as they were reported, and `silent` is their field of this name.
    """

    polls: Polls
    silent: NDArray[np.bool_]

    @classmethod
    def of(cls, points: Iterable[PollPoint]) -> Self:
        """Create columns of poll points."""
        if isinstance(points, cls):
            return points
        columns: list[Any] = list(zip(*points, strict=True)) or [()] * len(PollPoint._fields)
        time, id_, description, ok, latency_ms, requests, number, error, status, silent = columns
        times = [since_epoch(each) for each in time]
        polls = Polls.of_columns(times, id_, description, ok, latency_ms, requests, number, error, status)
        return cls(polls, np.array(silent, np.bool_))

    def __len__(self) -> int:
        return len(self.silent)

    @overload
    def __getitem__(self, index: int) -> PollPoint: ...
    @overload
    def __getitem__(self, index: slice) -> PollPoints: ...
    def __getitem__(self, index: int | slice) -> PollPoint | PollPoints:
        if isinstance(index, slice):
            return self.chosen(index)
        start = range(len(self))[index]  # raises an IndexError beyond the end
        return next(iter(self.chosen(slice(start, start + 1))))

    def chosen(self, rows: slice | NDArray[Any]) -> PollPoints:
        """Return some of the points: a range, indices, or a mask."""
        return PollPoints(self.polls[rows], self.silent[rows])

    def __iter__(self) -> Iterator[PollPoint]:
        columns = (column.tolist() for column in (*self.polls.columns().values(), self.silent))
        for time, *others in zip(*columns, strict=True):
            yield PollPoint(EPOCH + time * _MILLISECOND, *others)

    def of_meters(self, ids: Collection[int]) -> PollPoints:
        """Return the points of the meters with these ids."""
        return self.chosen(np.isin(self.polls.id, list(ids)))

    def ids_of_unread(self) -> list[int]:
        """Return the ids of the meters that failed or were silent."""
        failed = ~self.polls.ok | self.silent | (self.polls.error.codes >= 0)
        ids: list[int] = self.polls.id[failed].tolist()
        return ids


class MeterSums(NamedTuple):
    """The sums over poll points of one meter; `read_at` is None if it has no points, `latency_ms` the longest one."""

    read_at: datetime | None
    points: int
    requests: int
    latency_ms: float


def sums_of(fleet_readings: Sequence[PollPoints]) -> dict[int, MeterSums]:
    """Return the sums over several fleet readings by meter id."""
    if not fleet_readings:
        return {}
    names = ("id", "time", "points", "requests", "latency_ms")
    columns = (np.concatenate([getattr(each.polls, name) for each in fleet_readings]) for name in names)
    all_ids, times, points, requests, latencies = columns
    ids, of_row = np.unique(all_ids, return_inverse=True)
    summed = [np.zeros(len(ids), np.int64) for _ in range(2)]
    for sums, numbers in zip(summed, (points, requests), strict=True):
        np.add.at(sums, of_row, numbers)
    longest, latest = np.zeros(len(ids)), np.full(len(ids), np.iinfo(np.int64).min)
    np.maximum.at(longest, of_row, latencies)
    np.maximum.at(latest, of_row[points > 0], times[points > 0])
    return {
        id_: MeterSums(EPOCH + read_at * _MILLISECOND if number else None, number, *others)
        for id_, read_at, number, *others in zip(
            *(column.tolist() for column in (ids, latest, *summed, longest)), strict=True
        )
    }
