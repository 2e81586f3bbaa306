"""Registers that meters have ever sent: table `given_registers`. If a meter later refuses one, that is temporary."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlalchemy import select

from emm_pipeline.config_db.choosing import is_one_of
from emm_pipeline.config_db.device_state.fingerprints import Fingerprints
from emm_pipeline.config_db.engine import connected, database_errors
from emm_pipeline.config_db.tables import given_registers
from emm_pipeline.config_db.upsert import upsert

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection, Engine

    from emm_pipeline.fleet import EnergyMeter, MeterType
    from emm_pipeline.readings import GivenRange, MeterReading, Request

Given = dict[int, tuple["GivenRange", ...]]
"""The ranges by meter id."""


def load_given(engine: Engine | Connection, meters: Sequence[EnergyMeter], types: Mapping[str, MeterType]) -> Given:
    """Return the registers that meters have sent, for meters whose configuration has not changed since.

    Raises:
        ConfigDatabaseError: The database cannot be read. `save_given` raises it, too.
    """
    with connected(engine) as connection:
        of_meters = is_one_of(given_registers.c.meter_id, [meter.id for meter in meters])
        found = {row.meter_id: row for row in connection.execute(select(given_registers).where(of_meters))}
    known = Fingerprints(types)
    ranges_of: dict[str, tuple[GivenRange, ...]] = {}  # many meters have equal ones
    given: Given = {}
    for meter in meters:
        row = found.get(meter.id)
        if row and row.configuration == known.of(meter):
            if row.ranges not in ranges_of:
                ranges_of[row.ranges] = tuple(
                    (int(fc), int(start), int(end)) for fc, start, end in json.loads(row.ranges)
                )
            given[meter.id] = ranges_of[row.ranges]
    return given


def save_given(
    engine: Engine,
    readings: Sequence[MeterReading],
    types: Mapping[str, MeterType],
    known: Mapping[int, Sequence[GivenRange]],
) -> bool:
    """Save the registers that meters sent for the first time; `known` are those that were loaded before.

    Returns:
        Whether there were any.
    """
    fingerprints = Fingerprints(types)
    rows = []
    last: tuple[Sequence[GivenRange], list[Request]] | None = None  # many meters were read in the same way
    for reading in readings:
        before = known.get(reading.meter.id, ())
        requests = [block.request for block in reading.blocks]
        if last and before is last[0] and requests == last[1]:
            continue
        came = [(int(b.request.function_code), b.request.address, b.request.end) for b in reading.blocks]
        if all(_is_in(each, before) for each in came):
            last = before, requests
            continue
        ranges = json.dumps(merged([*before, *came]))
        configuration = fingerprints.of(reading.meter)
        rows.append({"meter_id": reading.meter.id, "ranges": ranges, "configuration": configuration})
    if rows:
        with database_errors(engine), engine.begin() as connection:
            upsert(connection, given_registers, rows)
    return bool(rows)


def _is_in(one: GivenRange, ranges: Iterable[GivenRange]) -> bool:
    return any(one[0] == each[0] and each[1] <= one[1] and one[2] <= each[2] for each in ranges)


def merged(ranges: Iterable[GivenRange]) -> list[GivenRange]:
    """Return the ranges, joining those that touch or overlap."""
    joined: list[GivenRange] = []
    for function_code, start, end in sorted(ranges):
        if joined and joined[-1][0] == function_code and start <= joined[-1][2]:
            joined[-1] = (function_code, joined[-1][1], max(end, joined[-1][2]))
        else:
            joined.append((function_code, start, end))
    return joined
