"""Shards divide the meters among runs (pure). A gateway belongs to one shard, unless a run polls a single meter.

A gateway's shard depends only on its address. Therefore runs of one tick still poll each gateway once if they see
different fleets because a meter was just added.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Collection

    from emm_pipeline.fleet import EnergyMeter


_METER = "meter "


@dataclass(frozen=True, slots=True)
class Shard:
    """Shard `index` of `count`, written `index/count`; or the one meter with `meter_id`, written `meter 17`."""

    index: int = 0
    count: int = 1
    meter_id: int | None = None

    def __str__(self) -> str:
        return f"{self.index}/{self.count}" if self.meter_id is None else f"{_METER}{self.meter_id}"

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read what `str()` wrote.

        Raises:
            ValueError: the text is not a shard.
        """
        if text.startswith(_METER):
            return cls(meter_id=int(text.removeprefix(_METER)))
        index, count = (int(part) for part in text.split("/"))
        return cls(index, count)

    def holds(self, meter: EnergyMeter) -> bool:
        """Whether the meter, or its gateway, belongs to this shard."""
        if self.meter_id is not None:
            return meter.id == self.meter_id
        return crc32(meter.address.encode()) % self.count == self.index

    def may_need(self, meter_id: int | None, address: str | None) -> bool:
        """Whether a run over this shard needs the configuration of a meter: it holds it, or reports if it is invalid.

        None where the configuration has no valid id or address.
        """
        if self.meter_id is not None:
            return meter_id == self.meter_id
        return self.index == 0 or (address is not None and crc32(address.encode()) % self.count == self.index)

    def reports_misconfigured(self, meter_id: int) -> bool:
        """Whether this shard reports that the meter is misconfigured, since its gateway may not be known."""
        return self.index == 0 if self.meter_id is None else self.meter_id == meter_id

    def overlaps(self, other: Shard) -> bool:
        """Whether both can contain the same meter."""
        if self.meter_id is not None and other.meter_id is not None:
            return self.meter_id == other.meter_id
        return (self.meter_id, self.count) != (other.meter_id, other.count) or self.index == other.index


def shards_for(meter_ids: Collection[int], meters_per_run: int) -> list[Shard]:
    """Return the shards for the meters with these ids; at least one, so that a run reports an empty fleet.

    If `meters_per_run` is 1, each meter has its own run; otherwise each shard has about that many meters.
    """
    if meters_per_run == 1 and meter_ids:
        return [Shard(meter_id=meter_id) for meter_id in sorted(meter_ids)]
    count = max(1, ceil(len(meter_ids) / meters_per_run))
    return [Shard(index, count) for index in range(count)]
