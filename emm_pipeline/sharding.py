"""Shards: which run polls which meters (pure). A gateway is never cut in two."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING
from zlib import crc32

if TYPE_CHECKING:
    from emm_pipeline.fleet import EnergyMeter


@dataclass(frozen=True, slots=True)
class Shard:
    """Shard `index` of `count`, written `index/count`."""

    index: int = 0
    count: int = 1

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read what `str()` wrote.

        Raises:
            ValueError: the text is none.
        """
        index, count = (int(part) for part in text.split("/"))
        return cls(index, count)

    def holds(self, meter: EnergyMeter) -> bool:
        """Whether the meter's gateway belongs to this shard."""
        return crc32(meter.address.encode()) % self.count == self.index

    def overlaps(self, other: Shard) -> bool:
        """Whether both could hold the same gateway."""
        return self.count != other.count or self.index == other.index


def shards_for(meters: int, meters_per_run: int) -> list[Shard]:
    """Return the shards of a fleet of so many meters; one at least, so that an empty fleet is polled and says so."""
    count = max(1, ceil(meters / meters_per_run))
    return [Shard(index, count) for index in range(count)]
