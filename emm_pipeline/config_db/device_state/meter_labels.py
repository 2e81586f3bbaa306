"""Labels of meters, such as serial number, model and firmware: table `meter_labels`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlalchemy import select

from emm_pipeline.config_db.choosing import is_one_of
from emm_pipeline.config_db.device_state.fingerprints import Fingerprints
from emm_pipeline.config_db.device_state.meter_status import storable
from emm_pipeline.config_db.engine import connected, database_errors
from emm_pipeline.config_db.tables import meter_labels
from emm_pipeline.config_db.upsert import upsert
from emm_pipeline.readings import LABELS_LAST

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Engine

    from emm_pipeline.fleet import EnergyMeter, MeterType
    from emm_pipeline.readings import MeterReading


def load_labels(engine: Engine, ids: Collection[int] | None = None) -> dict[int, dict[str, str]]:
    """Return, by meter id, the labels that were read last, name to text; of all meters, or of these.

    Raises:
        ConfigDatabaseError: The database cannot be read. All functions here raise it.
    """
    with database_errors(engine), engine.connect() as connection:
        columns = meter_labels.c
        rows = connection.execute(select(columns.meter_id, columns.labels).where(is_one_of(columns.meter_id, ids)))
        return {row.meter_id: json.loads(row.labels) for row in rows}


def load_labels_known(
    engine: Engine | Connection, meters: Sequence[EnergyMeter], types: Mapping[str, MeterType], now: datetime
) -> frozenset[int]:
    """Return the ids of meters whose labels need not be read now: they have none, or were read less than a day ago.

    The labels of a meter whose configuration has changed since are read again.
    """
    with_labels = {name for name, meter_type in types.items() if meter_type.labels}
    if not with_labels:
        return frozenset(meter.id for meter in meters)
    recent = select(meter_labels.c.meter_id, meter_labels.c.configuration).where(
        meter_labels.c.read_at > now - LABELS_LAST,
        is_one_of(meter_labels.c.meter_id, [meter.id for meter in meters]),
    )
    with connected(engine) as connection:
        known = {row.meter_id: row.configuration for row in connection.execute(recent)}
    fingerprints = Fingerprints(types)
    return frozenset(
        meter.id
        for meter in meters
        if meter.type not in with_labels or (meter.id in known and known[meter.id] == fingerprints.of(meter))
    )


def save_labels(engine: Engine, readings: Sequence[MeterReading], types: Mapping[str, MeterType]) -> bool:
    """Save the labels that were read in these meter readings. If none were read, the earlier ones stay.

    Returns:
        Whether any were requested.
    """
    asked = [reading for reading in readings if reading.labels is not None]
    if not asked:
        return False
    before = load_labels(engine, [reading.meter.id for reading in asked])
    known = Fingerprints(types)
    rows = [
        {
            "meter_id": reading.meter.id,
            "labels": storable(json.dumps(reading.labels or before.get(reading.meter.id, {}), ensure_ascii=False)),
            "configuration": known.of(reading.meter),
            "read_at": reading.time,
        }
        for reading in asked
    ]
    with database_errors(engine), engine.begin() as connection:
        upsert(connection, meter_labels, rows)
    return True
