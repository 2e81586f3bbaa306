"""The addresses of meters' SunSpec models: table `model_addresses`, which the next polls read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlalchemy import select

from emm_pipeline.config_db.choosing import is_one_of
from emm_pipeline.config_db.device_state.fingerprints import Fingerprints
from emm_pipeline.config_db.engine import connected, database_errors
from emm_pipeline.config_db.tables import model_addresses
from emm_pipeline.config_db.upsert import upsert
from emm_pipeline.readings import REFUSAL_LASTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Engine

    from emm_pipeline.fleet import EnergyMeter, MeterType
    from emm_pipeline.readings import MeterReading


def load_model_addresses(
    engine: Engine | Connection, meters: Sequence[EnergyMeter], types: Mapping[str, MeterType], now: datetime
) -> dict[int, dict[int, int]]:
    """Return by meter id the address of each of its models.

    Addresses that are older than a day, or were found with another configuration of the meter, are omitted.

    Raises:
        ConfigDatabaseError: The database cannot be read. The function below raises it too.
    """
    recent = select(model_addresses).where(
        model_addresses.c.found_at > now - REFUSAL_LASTS,
        is_one_of(model_addresses.c.meter_id, [meter.id for meter in meters]),
    )
    with connected(engine) as connection:
        found = {row.meter_id: row for row in connection.execute(recent)}
    known = Fingerprints(types)
    return {
        meter.id: {int(model): address for model, address in json.loads(found[meter.id].addresses).items()}
        for meter in meters
        if meter.id in found and found[meter.id].configuration == known.of(meter)
    }


def save_model_addresses(engine: Engine, readings: Sequence[MeterReading], types: Mapping[str, MeterType]) -> bool:
    """Save the addresses that these meter readings found by searching for models; return whether there were any."""
    known = Fingerprints(types)
    rows = [
        {
            "meter_id": reading.meter.id,
            "addresses": json.dumps(reading.models),
            "configuration": known.of(reading.meter),
            "found_at": reading.time,
        }
        for reading in readings
        if reading.models
    ]
    if rows:
        with database_errors(engine), engine.begin() as connection:
            upsert(connection, model_addresses, rows)
    return bool(rows)
