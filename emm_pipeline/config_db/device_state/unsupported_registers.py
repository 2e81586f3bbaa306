"""Registers that meters do not support: table `refused_registers`, so that the next polls omit them."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from sqlalchemy import delete, or_, select

from emm_pipeline.config_db.choosing import is_one_of
from emm_pipeline.config_db.device_state.fingerprints import Fingerprints
from emm_pipeline.config_db.engine import connected, database_errors
from emm_pipeline.config_db.tables import model_addresses, refused_registers
from emm_pipeline.config_db.upsert import upsert
from emm_pipeline.fleet import FunctionCode
from emm_pipeline.readings import REFUSAL_LASTS, MeterReading, UnsupportedRange

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Engine

    from emm_pipeline.fleet import EnergyMeter, MeterType
    from emm_pipeline.readings import GivenRange, Request

_COLUMNS = (
    *("meter_id", "configuration", "function_code", "register_address", "count", "exception_code", "refused_at"),
    *("times_refused", "temporary"),
)
"""The columns; from the third on in the order of the fields of UnsupportedRange."""
_BEHIND_FUNCTION_CODE = 3


def load_unsupported(
    engine: Engine, meters: Sequence[EnergyMeter], types: Mapping[str, MeterType], now: datetime
) -> dict[int, tuple[UnsupportedRange, ...]]:
    """Return by meter id the registers that polls leave out now.

    Raises:
        ConfigDatabaseError: The database cannot be read.
    """
    refused = load_refused(engine, meters, types, now)
    left_out = {id_: tuple(each for each in ranges if each.tried_again_at > now) for id_, ranges in refused.items()}
    return {id_: ranges for id_, ranges in left_out.items() if ranges}


def load_refused(
    engine: Engine | Connection, meters: Sequence[EnergyMeter], types: Mapping[str, MeterType], now: datetime
) -> dict[int, tuple[UnsupportedRange, ...]]:
    """Return by meter id the registers that the meter did not give when they were last requested, less than a day ago.

    Entries from before the meter's configuration changed, or before its SunSpec models were found at other addresses,
    are ignored.

    Raises:
        ConfigDatabaseError: The database cannot be read. The function below raises it too.
    """
    table, models = refused_registers.c, model_addresses.c
    by_id = {meter.id: meter for meter in meters}
    query = (
        select(*(table[name] for name in _COLUMNS))
        .join_from(refused_registers, model_addresses, table.meter_id == models.meter_id, isouter=True)
        .where(table.refused_at > now - REFUSAL_LASTS, is_one_of(table.meter_id, by_id))
        .where(or_(models.found_at.is_(None), table.refused_at >= models.found_at))
        .order_by(table.meter_id, table.function_code, table.register_address, table.count)
    )
    known = Fingerprints(types)
    unsupported: dict[int, tuple[UnsupportedRange, ...]] = {}
    with connected(engine) as connection:
        for meter_id, rows in groupby(connection.execute(query), key=lambda row: row.meter_id):
            configuration = known.of(by_id[meter_id])
            current = [row for row in rows if row.configuration == configuration]
            if current:
                unsupported[meter_id] = tuple(
                    UnsupportedRange(FunctionCode(row.function_code), *row[_BEHIND_FUNCTION_CODE:]) for row in current
                )
    return unsupported


def save_unsupported(
    engine: Engine, readings: Sequence[MeterReading], types: Mapping[str, MeterType], now: datetime
) -> bool:
    """Save the registers that meters refused in these meter readings, and delete entries older than a day.

    Returns:
        Whether any were refused.
    """
    known = Fingerprints(types)
    rows = [
        {
            "meter_id": reading.meter.id,
            "type": reading.meter.type,
            "function_code": int(unsupported.function_code),
            "register_address": unsupported.address,
            "count": unsupported.count,
            "exception_code": unsupported.exception_code,
            "refused_at": unsupported.refused_at,
            "times_refused": unsupported.times_refused,
            "temporary": unsupported.is_temporary,
            "configuration": known.of(reading.meter),
        }
        for reading in readings
        for unsupported in reading.unsupported
        if unsupported.refused_at == reading.time
    ]
    if not rows:
        return False
    with database_errors(engine), engine.begin() as connection:
        upsert(connection, refused_registers, rows)
        connection.execute(delete(refused_registers).where(refused_registers.c.refused_at <= now - REFUSAL_LASTS))
    return True


def forget_given(
    engine: Engine, refused: Mapping[int, Sequence[UnsupportedRange]], readings: Sequence[MeterReading]
) -> bool:
    """Delete the refused registers that meters have given now; return whether there were any.

    Args:
        engine: The configuration database.
        refused: The refused registers by meter id, also of other meters.
        readings: The readings of this poll.
    """
    given = [
        (reading.meter.id, range_)
        for reading in readings
        for range_ in refused.get(reading.meter.id, ())
        if range_.refused_at < reading.time and any(range_.lies_in(block.request) for block in reading.blocks)
    ]
    if given:
        with database_errors(engine), engine.begin() as connection:
            for meter_id, range_ in given:
                _forget(connection, meter_id, range_.key)
    return bool(given)


def forget_read(engine: Engine, requests: Mapping[int, Sequence[Request]]) -> None:
    """Delete the refused registers that these requests, by meter id, have brought."""
    with database_errors(engine), engine.begin() as connection:
        for meter_id, read in requests.items():
            for request in read:
                _forget(connection, meter_id, (int(request.function_code), request.address, request.end))


def _forget(connection: Connection, meter_id: int, given: GivenRange) -> None:
    table = refused_registers.c
    function_code, start, end = given
    connection.execute(
        delete(refused_registers)
        .where(table.meter_id == meter_id, table.function_code == function_code)
        .where(table.register_address >= start, table.register_address + table.count <= end)
    )
