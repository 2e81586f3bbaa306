"""What the pipeline remembers of each meter between runs: table `meter_status`, written by nobody else."""

from __future__ import annotations

import hashlib
import json
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from emm_pipeline.config_db.engine import database_errors
from emm_pipeline.fleet import TransportKind

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Engine, TextClause

    from emm_pipeline.fleet import EnergyMeter, Fleet, MeterType


@dataclass(frozen=True, slots=True)
class MeterStatus:
    """One meter's state; its times are aware.

    `configuration` is the fingerprint at the last discovery, None before the first. `failing_since` and `reason`
    are None while the meter is well. `recorded_at` is when its outcome was last told to Dagster.
    """

    id: int
    configuration: str | None = None
    last_read_at: datetime | None = None
    failing_since: datetime | None = None
    failures_in_a_row: int = 0
    reason: str | None = None
    recorded_at: datetime | None = None


_LOAD = text("""
    SELECT id, configuration, last_read_at, failing_since, failures_in_a_row, reason, recorded_at
    FROM meter_status
    ORDER BY id
""")

_SAVE_CONFIGURATIONS = text("""
    INSERT INTO meter_status (id, configuration)
    SELECT * FROM unnest(CAST(:id AS integer[]), CAST(:configuration AS text[]))
    ON CONFLICT (id) DO UPDATE SET
        configuration = excluded.configuration,
        failed_samples = 0,
        failed_samples_since = NULL,
        failed_sample_reason = NULL,
        next_attempt_at = NULL
""")

_SAVE_OUTCOMES = text("""
    INSERT INTO meter_status
        (id, last_read_at, failing_since, failures_in_a_row, reason, recorded_at)
    SELECT * FROM unnest(
        CAST(:id AS integer[]),
        CAST(:last_read_at AS timestamptz[]),
        CAST(:failing_since AS timestamptz[]),
        CAST(:failures_in_a_row AS integer[]),
        CAST(:reason AS text[]),
        CAST(:recorded_at AS timestamptz[])
    )
    ON CONFLICT (id) DO UPDATE SET
        last_read_at = excluded.last_read_at,
        failing_since = excluded.failing_since,
        failures_in_a_row = excluded.failures_in_a_row,
        reason = excluded.reason,
        recorded_at = excluded.recorded_at
""")

_FORGET = text("""
    WITH refusals AS (DELETE FROM refused_registers WHERE meter_id = ANY(CAST(:id AS integer[]))),
        models AS (DELETE FROM model_addresses WHERE meter_id = ANY(CAST(:id AS integer[])))
    DELETE FROM meter_status WHERE id = ANY(CAST(:id AS integer[]))
""")


def load_statuses(engine: Engine) -> dict[int, MeterStatus]:
    """The status of every meter that has one, by id.

    Raises:
        ConfigDatabaseError: The database cannot be read, or was never upgraded. Like all functions here.
    """
    with database_errors(engine), engine.connect() as connection:
        return {row.id: MeterStatus(*row) for row in connection.execute(_LOAD)}


def save_configurations(engine: Engine, fingerprints: Mapping[int, str]) -> None:
    """Keep the fingerprints of new and changed meters, by id; those are asked at the next sample, whatever was."""
    ids = sorted(fingerprints)
    _execute(engine, _SAVE_CONFIGURATIONS, id=ids, configuration=[fingerprints[id_] for id_ in ids])


def save_results(engine: Engine, statuses: Sequence[MeterStatus]) -> None:
    """Keep what came of polls, in one statement; of a meter that is there twice, the last."""
    last = {status.id: status for status in statuses}
    ordered = [last[id_] for id_ in sorted(last)]  # two shards that write at once take locks in the same order
    _execute(
        engine,
        _SAVE_OUTCOMES,
        id=[status.id for status in ordered],
        last_read_at=[status.last_read_at for status in ordered],
        failing_since=[status.failing_since for status in ordered],
        failures_in_a_row=[status.failures_in_a_row for status in ordered],
        reason=[storable(status.reason) for status in ordered],
        recorded_at=[status.recorded_at for status in ordered],
    )


def forget(engine: Engine, ids: Collection[int]) -> None:
    """Drop what is remembered of meters that are gone."""
    _execute(engine, _FORGET, id=sorted(ids))


def fingerprint(meter: EnergyMeter, meter_type: MeterType) -> str:
    """A digest that changes when the meter must be looked at anew.

    That is with its host, port, transport, unit id, type, description, or any register of its type. The same in every
    process and on every machine.
    """
    return _digest(_meter_key(meter), _type_digest(meter_type))


def fingerprints(fleet: Fleet) -> dict[int, str]:
    """The fingerprint of every meter of the fleet, by id."""
    types = {name: _type_digest(meter_type) for name, meter_type in fleet.types.items()}
    return {meter.id: _digest(_meter_key(meter), types[meter.type]) for meter in fleet.meters}


def _meter_key(meter: EnergyMeter) -> list[Any]:
    # Modbus TCP is left out, so that fingerprints from before there were other transports stay the same.
    transport: list[str] = [] if meter.transport is TransportKind.TCP else [meter.transport]
    return [meter.host, meter.port, meter.unit_id, meter.type, meter.description, *transport]


def _type_digest(meter_type: MeterType) -> str:
    return _digest(*(astuple(register) for register in meter_type.registers))


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def storable(reason: str | None) -> str | None:
    """The reason without what PostgreSQL's text cannot hold: NUL and lone surrogates, from a garbled reply."""
    if reason is None:
        return None
    return reason.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def _execute(engine: Engine, statement: TextClause, **columns: Sequence[Any]) -> None:
    if columns["id"]:
        with database_errors(engine), engine.begin() as connection:
            connection.execute(statement, columns)
