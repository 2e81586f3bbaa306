"""Read meters again and again, for `emm watch`. Nothing is stored."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emm_pipeline.modbus.decoding import decode_readings
from emm_pipeline.modbus.fleet_reading import Conditions, read_meters
from emm_pipeline.polling.delivery_check import register_issues
from emm_pipeline.status import State, Status, decide_read

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from emm_pipeline.cli.gateways import KnownFleet
    from emm_pipeline.fleet import EnergyMeter, MeterType
    from emm_pipeline.readings import UnsupportedRange

LONGEST_READING_S = 60.0
"""Seconds after which a reading is abandoned, whatever the interval."""


@dataclass(frozen=True, slots=True)
class Values:
    """One reading of a meter: values by measurement, and the error if some of them could not be read."""

    meter: EnergyMeter
    time: datetime
    values: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None
    status: Status = field(default_factory=lambda: Status(State.OK))


@dataclass(slots=True)
class Watched:
    """Meters that are read repeatedly."""

    known: KnownFleet
    meters: Sequence[EnergyMeter]
    types: Mapping[str, MeterType]
    interval_s: float
    _unsupported: dict[int, tuple[UnsupportedRange, ...]] = field(default_factory=dict)
    """Unsupported registers by meter id, which the next requests omit."""
    _models: dict[int, Mapping[int, int]] = field(default_factory=dict)
    """Addresses of SunSpec models by meter id, at the last reading."""

    def series(self, meter: EnergyMeter) -> list[tuple[str, str | None]]:
        """Return the names and units of a meter's measurements, in the order of its type, each once."""
        return list(dict(self.types[meter.type].stored_series).items())

    async def read(self) -> list[Values]:
        """Read each meter once. A meter that cannot be read has an error in its result."""
        deadline = time.monotonic() + LONGEST_READING_S
        async with self.known.locks() as locks:
            conditions = Conditions(locks=locks, unsupported=self._unsupported, models=self._models)
            readings = await read_meters(self.meters, self.types, deadline=deadline, conditions=conditions)
        self._unsupported = {each.meter.id: each.unsupported for each in readings}
        self._models |= {each.meter.id: each.models for each in readings if each.models}
        frame = decode_readings(readings, self.types)
        issues = register_issues(readings, frame, self.types, self.known.accepted())
        values: dict[int, dict[str, float]] = {}
        for meter_id, name, value in zip(frame["id"], frame["measurement"], frame["value"], strict=True):
            values.setdefault(meter_id, {})[name] = value
        results = []
        for each in readings:
            error = each.failure.reason if each.failure else None
            status = Status(State.FAILING, error) if error else decide_read(issues.get(each.meter.id, ()))
            results.append(Values(each.meter, each.time, values.get(each.meter.id, {}), error, status))
        return results
