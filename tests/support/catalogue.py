"""Poll a simulated device of a catalogue type over a socket."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from support.meters import SimulatedUnit

from emm_pipeline.catalog import load_catalogue
from emm_pipeline.event_loop import run_fast
from emm_pipeline.fleet import EnergyMeter
from emm_pipeline.modbus.decoding import decode_readings
from emm_pipeline.modbus.fleet_reading import read_meters
from emm_pipeline.stores.texts import text_or_none

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from support.meters import Registers, StartGateway


def points(start_gateway: StartGateway, type_name: str, registers: Registers) -> dict[str, tuple[float, str | None]]:
    """Return the points of one poll of a device with these registers: measurement to value and unit."""
    gateway = start_gateway({1: SimulatedUnit(registers)})
    types = {type_name: load_catalogue()[type_name].meter_type}
    meter = EnergyMeter(1, gateway.host, gateway.port, 1, type_name)
    frame = decode_readings(run_fast(read_meters([meter], types, deadline=time.monotonic() + 20)), types)
    return {row.measurement: (row.value, text_or_none(row.unit)) for row in frame.itertuples()}


def device(words: Mapping[tuple[int, int], Sequence[int]], elsewhere: int = 0) -> Callable[[int, int], int]:
    """Return a device with the registers `{(function code, address): words}`, and `elsewhere` in all others."""
    held = {(code, address + i): word for (code, address), some in words.items() for i, word in enumerate(some)}
    return lambda code, address: held.get((code, address), elsewhere)
