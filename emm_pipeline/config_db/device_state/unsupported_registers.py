"""What meters refuse to give: table `refused_registers`, from which the next polls plan around it."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from sqlalchemy import text

from emm_pipeline.config_db.device_state.meter_status import fingerprint
from emm_pipeline.config_db.engine import database_errors
from emm_pipeline.fleet import FunctionCode
from emm_pipeline.readings import REFUSAL_LASTS, MeterReading, UnsupportedRange

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Engine

    from emm_pipeline.fleet import EnergyMeter, MeterType

_LOAD = text("""
    SELECT meter_id, r.configuration, function_code, register_address, count, exception_code, refused_at
    FROM refused_registers r
    LEFT JOIN model_addresses USING (meter_id)
    WHERE refused_at > :oldest AND (found_at IS NULL OR refused_at >= found_at)
    ORDER BY meter_id, function_code, register_address, count
""")

_SAVE = text("""
    INSERT INTO refused_registers
        (meter_id, type, function_code, register_address, count, exception_code, refused_at, configuration)
    SELECT * FROM unnest(
        CAST(:meter_id AS integer[]),
        CAST(:type AS text[]),
        CAST(:function_code AS integer[]),
        CAST(:register_address AS integer[]),
        CAST(:count AS integer[]),
        CAST(:exception_code AS integer[]),
        CAST(:refused_at AS timestamptz[]),
        CAST(:configuration AS text[])
    )
    ON CONFLICT (meter_id, function_code, register_address, count) DO UPDATE SET
        type = excluded.type,
        exception_code = excluded.exception_code,
        refused_at = excluded.refused_at,
        configuration = excluded.configuration
""")

_DELETE_OLD = text("DELETE FROM refused_registers WHERE refused_at <= :oldest")


def load_unsupported(
    engine: Engine, meters: Sequence[EnergyMeter], types: Mapping[str, MeterType], now: datetime
) -> dict[int, tuple[UnsupportedRange, ...]]:
    """What the meters are not to be asked for now, by meter id: refused less than a day ago, and not changed since.

    Nor is what was refused before the meter's SunSpec models were last found elsewhere.

    Raises:
        ConfigDatabaseError: The database cannot be read. Like the function below.
    """
    by_id = {meter.id: meter for meter in meters}
    found: dict[int, list[tuple[str, UnsupportedRange]]] = defaultdict(list)
    with database_errors(engine), engine.connect() as connection:
        rows = connection.execute(_LOAD, {"oldest": now - REFUSAL_LASTS})
        for meter_id, configuration, function_code, *range_ in rows:
            if meter_id in by_id:
                found[meter_id].append((configuration, UnsupportedRange(FunctionCode(function_code), *range_)))
    current = {}
    for meter_id, known in found.items():
        meter = by_id[meter_id]
        now_configured = fingerprint(meter, types[meter.type])
        current[meter_id] = tuple(refused for configured, refused in known if configured == now_configured)
    return {meter_id: refusals for meter_id, refusals in current.items() if refusals}


def save_unsupported(
    engine: Engine, samples: Sequence[MeterReading], types: Mapping[str, MeterType], now: datetime
) -> None:
    """Keep what was refused in these samples, and drop what is older than a day."""
    rows = [
        {
            "meter_id": sample.meter.id,
            "type": sample.meter.type,
            "function_code": int(refused.function_code),
            "register_address": refused.address,
            "count": refused.count,
            "exception_code": refused.exception_code,
            "refused_at": refused.refused_at,
            "configuration": fingerprint(sample.meter, types[sample.meter.type]),
        }
        for sample in samples
        for refused in sample.unsupported
        if refused.refused_at == sample.time
    ]
    if not rows:
        return
    rows.sort(key=lambda row: str(row["meter_id"]))
    with database_errors(engine), engine.begin() as connection:
        connection.execute(_SAVE, {column: [row[column] for row in rows] for column in rows[0]})
        connection.execute(_DELETE_OLD, {"oldest": now - REFUSAL_LASTS})
