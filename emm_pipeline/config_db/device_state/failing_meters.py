"""Meters whose last reading failed, and the time of their next attempt: columns of `meter_status`.

They are written after each fleet reading, and a run may take several a minute. Therefore only the rows of meters that
fail, or have just recovered, are written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from emm_pipeline.config_db.choosing import is_one_of
from emm_pipeline.config_db.device_state.meter_status import storable
from emm_pipeline.config_db.engine import connected, database_errors
from emm_pipeline.config_db.tables import meter_status
from emm_pipeline.config_db.upsert import upsert
from emm_pipeline.failing import FailingMeter

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy import Connection, Engine

_COLUMNS = ("failed_samples", "failed_samples_since", "failed_sample_reason", "next_attempt_at", "silent")
"""The columns, in the order of the fields of FailingMeter after its id."""


def load_failing(engine: Engine | Connection, ids: Collection[int] | None = None) -> dict[int, FailingMeter]:
    """Return the failing meters, by id; only those with these ids, if any are given.

    Raises:
        ConfigDatabaseError: The database cannot be read. Like the functions below.
    """
    columns = (meter_status.c[name] for name in ("id", *_COLUMNS))
    failing = meter_status.c.failed_samples > 0
    with connected(engine) as connection:
        rows = connection.execute(select(*columns).where(failing, is_one_of(meter_status.c.id, ids)))
        return {row.id: FailingMeter(*row) for row in rows}


def load_silent(engine: Engine | Connection, ids: Collection[int]) -> frozenset[int]:
    """Return which of these meters did not reply when they were read last."""
    silent = select(meter_status.c.id).where(meter_status.c.was_silent, is_one_of(meter_status.c.id, ids))
    with connected(engine) as connection:
        return frozenset(connection.scalars(silent))


def save_silent(engine: Engine, changes: Mapping[int, bool]) -> None:
    """Save, by meter id, whether the meter was silent when it was last read."""
    if changes:
        rows = [{"id": id_, "was_silent": silent} for id_, silent in changes.items()]
        with database_errors(engine), engine.begin() as connection:
            upsert(connection, meter_status, rows)


def save_failing(engine: Engine, changes: Mapping[int, FailingMeter | None]) -> None:
    """Save the failure of each meter in `changes`, by id; None means that the meter has recovered."""
    if not changes:
        return
    rows = []
    for id_, state in changes.items():
        values = (
            (state.failures, state.since, storable(state.reason), state.next_attempt_at, state.silent)
            if state
            else (0, None, None, None, False)
        )
        rows.append({"id": id_, **dict(zip(_COLUMNS, values, strict=True))})
    with database_errors(engine), engine.begin() as connection:
        upsert(connection, meter_status, rows)
