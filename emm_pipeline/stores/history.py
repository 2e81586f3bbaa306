"""The interface through which energies are computed: read stored readings, and read and write energies (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from numpy.typing import NDArray

    from emm_pipeline.stores.energy_points import EnergyPoints


class StoredSeries(NamedTuple):
    """The readings of a meter's measurement, whatever its description was."""

    id: int
    measurement: str
    unit: str | None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which readings to read.

    Attributes:
        unit: A regular expression that matches the unit; None for any, or no unit.
        measurement: The measurement's name; None for any.
        ids: The meters' ids; None for all.
    """

    unit: str | None = None
    measurement: str | None = None
    ids: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """Stored readings, as columns, in any order.

    Attributes:
        series: The series, each once.
        code: Index in `series` of each reading.
        time: Milliseconds since 1970, UTC.
        value: The values in the series' unit.
    """

    series: Sequence[StoredSeries]
    code: NDArray[np.int64]
    time: NDArray[np.int64]
    value: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.time)

    @classmethod
    def joined(cls, parts: Collection[History]) -> History:
        """Return all readings of all parts."""
        known: dict[StoredSeries, int] = {}
        codes = []
        for part in parts:
            new = np.array([known.setdefault(series, len(known)) for series in part.series], np.int64)
            codes.append(new[part.code] if len(new) else part.code)
        if not parts:
            return cls((), np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
        times, values = [part.time for part in parts], [part.value for part in parts]
        return cls(tuple(known), np.concatenate(codes), np.concatenate(times), np.concatenate(values))


class HistoryStore(Protocol):
    """Reads readings, and reads and writes energies. All methods raise StoreError if the store does not answer."""

    def read(self, selection: Selection, begin: int, end: int) -> History:
        """Return the readings from `begin` until before `end` (milliseconds since 1970)."""

    def read_before(self, selection: Selection, time: int, count: int, within: int | None = None) -> History:
        """Return the last `count` readings of each series before a time, and not longer before than `within`."""

    def read_after(self, selection: Selection, time: int, count: int) -> History:
        """Return the first `count` readings of each series at or after a time."""

    def first_time(self) -> int | None:
        """Return the time of the oldest reading of a counter; None if there is none."""

    def read_energy(self, period: str, begin: int, end: int, ids: Collection[int] | None = None) -> EnergyPoints:
        """Return the energies of the intervals that begin from `begin` until before `end`."""

    def write_energy(self, points: EnergyPoints) -> None:
        """Write energies. Each replaces the one of the same interval; a cost that is NaN removes the cost."""

    def delete_readings(self, before: int) -> int:
        """Delete all points older than a time, but no energies; return their number if the store tells it, else 0."""

    def export(self, selection: Selection, begin: int, end: int) -> Iterator[History]:
        """Yield all readings in parts that fit into memory, each series in the order of time."""

    def close(self) -> None:
        """Close the connections."""
