"""Where meters have their SunSpec models: table `model_addresses`, from which the next polls know their addresses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlalchemy import text

from emm_pipeline.config_db.device_state.meter_status import fingerprint
from emm_pipeline.config_db.engine import database_errors
from emm_pipeline.readings import REFUSAL_LASTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Engine

    from emm_pipeline.fleet import EnergyMeter, MeterType
    from emm_pipeline.readings import MeterReading

_LOAD = text("SELECT meter_id, addresses, configuration FROM model_addresses WHERE found_at > :oldest")

_SAVE = text("""
    INSERT INTO model_addresses (meter_id, addresses, configuration, found_at)
    VALUES (:meter_id, :addresses, :configuration, :found_at)
    ON CONFLICT (meter_id) DO UPDATE SET
        addresses = excluded.addresses,
        configuration = excluded.configuration,
        found_at = excluded.found_at
""")


def load_model_addresses(
    engine: Engine, meters: Sequence[EnergyMeter], types: Mapping[str, MeterType], now: datetime
) -> dict[int, dict[int, int]]:
    """By meter id, where its models begin: found less than a day ago, with the configuration of now.

    Raises:
        ConfigDatabaseError: The database cannot be read. Like the function below.
    """
    with database_errors(engine), engine.connect() as connection:
        rows = connection.execute(_LOAD, {"oldest": now - REFUSAL_LASTS})
        found = {row.meter_id: row for row in rows}
    return {
        meter.id: {int(model): address for model, address in json.loads(found[meter.id].addresses).items()}
        for meter in meters
        if meter.id in found and found[meter.id].configuration == fingerprint(meter, types[meter.type])
    }


def save_model_addresses(engine: Engine, samples: Sequence[MeterReading], types: Mapping[str, MeterType]) -> None:
    """Keep what was found by searching in these samples; of a meter that has none, nothing."""
    rows = [
        {
            "meter_id": sample.meter.id,
            "addresses": json.dumps(sample.models),
            "configuration": fingerprint(sample.meter, types[sample.meter.type]),
            "found_at": sample.time,
        }
        for sample in sorted(samples, key=lambda sample: sample.meter.id)
        if sample.models
    ]
    if rows:
        with database_errors(engine), engine.begin() as connection:
            connection.execute(_SAVE, rows)
