"""The status of each meter between runs: table `meter_status`, written only by the pipeline."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC
from types import MappingProxyType
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, or_, select

from emm_pipeline.config_db.choosing import is_one_of
from emm_pipeline.config_db.engine import connected, database_errors
from emm_pipeline.config_db.state_tables import (
    accepted_absences,
    given_registers,
    meter_labels,
    meter_status,
    model_addresses,
    refused_registers,
    register_issues,
)
from emm_pipeline.config_db.upsert import upsert
from emm_pipeline.config_db.used_ids import record_used_ids

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Engine


_NO_COUNTERS: Mapping[int, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class MeterStatus:
    """One meter's status; its times are aware.

    `configuration` is the fingerprint at the last discovery, None before the first. `failing_since` and `reason`
    are None unless the meter is failing. `recorded_at` is when its result was last reported to Dagster, `polled_at`
    when a poll last had a result. `asleep` says that it may be off and did not reply. `observed_at` and
    `observed_reason` are the time and the reason of the last observation of its failure.
    """

    id: int
    configuration: str | None = None
    last_read_at: datetime | None = None
    failing_since: datetime | None = None
    failures_in_a_row: int = 0
    reason: str | None = None
    recorded_at: datetime | None = None
    polled_at: datetime | None = None
    first_seen_at: datetime | None = field(default=None, compare=False)
    silent: bool = False
    asleep: bool = False
    observed_at: datetime | None = None
    observed_reason: str | None = None


def load_statuses(engine: Engine, ids: Collection[int] | None = None) -> dict[int, MeterStatus]:
    """Return the status of every meter that has one, by id.

    If ids are given, only of the meters with these ids, and of all meters that fail or are asleep.

    Raises:
        ConfigDatabaseError: The database cannot be read, or was never upgraded. All functions here raise it.
    """
    columns = (meter_status.c[name] for name in MeterStatus.__slots__)
    with database_errors(engine), engine.connect() as connection:
        chosen = or_(is_one_of(meter_status.c.id, ids), meter_status.c.failing_since.is_not(None))
        rows = connection.execute(select(*columns).where(chosen).order_by(meter_status.c.id))
        return {row.id: MeterStatus(*row) for row in rows}


def load_configurations(engine: Engine) -> dict[int, str]:
    """Return the fingerprint that was saved for each meter, by id."""
    known = select(meter_status.c.id, meter_status.c.configuration).where(meter_status.c.configuration.is_not(None))
    with database_errors(engine), engine.connect() as connection:
        return {row.id: row.configuration for row in connection.execute(known)}


def load_polled_at(engine: Engine) -> dict[int, datetime]:
    """Return by meter id the time (aware) at which a poll last had a result, for meters that were ever polled."""
    query = select(meter_status.c.id, meter_status.c.polled_at).where(meter_status.c.polled_at.is_not(None))
    with database_errors(engine), engine.connect() as connection:
        return {row.id: row.polled_at for row in connection.execute(query)}


def load_newest_reading(engine: Engine | Connection, ids: Collection[int]) -> datetime | None:
    """Return the time (UTC) of the latest reading of any of these meters, or None if none was ever read."""
    with connected(engine) as connection:
        newest: datetime | None = connection.scalar(
            select(func.max(meter_status.c.last_read_at)).where(is_one_of(meter_status.c.id, ids))
        )
        return newest.astimezone(UTC) if newest else None


def load_counters(engine: Engine | Connection, ids: Collection[int]) -> dict[int, str]:
    """Return the energy counters of each of these meters that has any, by id (`polling/counters.py`)."""
    columns = meter_status.c
    known = select(columns.id, columns.counters).where(columns.counters.is_not(None), is_one_of(columns.id, ids))
    with connected(engine) as connection:
        return {row.id: row.counters for row in connection.execute(known)}


def save_configurations(engine: Engine, fingerprints: Mapping[int, str]) -> None:
    """Save the fingerprints of new and changed meters, by id, and delete their failures, so that they are due now.

    Their counters are deleted, too: another device or scale may give lower values.
    """
    rows = [{"id": id_, "configuration": configuration} for id_, configuration in fingerprints.items()]
    forgotten = {"failed_samples_since": None, "failed_sample_reason": None, "next_attempt_at": None, "counters": None}
    with database_errors(engine), engine.begin() as connection:
        upsert(connection, meter_status, rows, failed_samples=0, **forgotten)
        record_used_ids(connection, fingerprints.keys())


def save_results(engine: Engine, statuses: Sequence[MeterStatus], counters: Mapping[int, str] = _NO_COUNTERS) -> None:
    """Save the results of polls; if a meter occurs twice, its last result.

    The meters in `counters` (by id) are written in a second statement, together with their counters.
    """
    rows = [
        {
            "id": status.id,
            "last_read_at": status.last_read_at,
            "failing_since": status.failing_since,
            "failures_in_a_row": status.failures_in_a_row,
            "reason": storable(status.reason),
            "recorded_at": status.recorded_at,
            "polled_at": status.polled_at,
            "silent": status.silent,
            "asleep": status.asleep,
            "observed_at": status.observed_at,
            "observed_reason": storable(status.observed_reason),
        }
        for status in statuses
    ]
    pairs = list(zip(statuses, rows, strict=True))
    others = [row for status, row in pairs if status.id not in counters]
    counted = [row | {"counters": counters[status.id]} for status, row in pairs if status.id in counters]
    for batch in (others, counted):  # each in its own transaction: two runs lock the rows in the same order
        with database_errors(engine), engine.begin() as connection:
            upsert(connection, meter_status, batch)


def forget(engine: Engine, ids: Collection[int]) -> None:
    """Delete the device state of removed meters."""
    if not ids:
        return
    with database_errors(engine), engine.begin() as connection:
        own = (register_issues, accepted_absences, meter_labels)
        tables = (refused_registers, model_addresses, given_registers, *own)
        for key in (*(table.c.meter_id for table in tables), meter_status.c.id):
            connection.execute(delete(key.table).where(key.in_(sorted(ids))))


def storable(reason: str | None) -> str | None:
    """Replace NUL and lone surrogates, which a garbled reply may contain and PostgreSQL's type text cannot hold."""
    if reason is None:
        return None
    return reason.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
