"""Which meters gave nothing when they were asked last, and when to ask them again: columns of `meter_status`.

Written with each sample, also where a run takes several a minute; so only meters that fail, or did, are touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from emm_pipeline.config_db.device_state.meter_status import storable
from emm_pipeline.config_db.engine import database_errors
from emm_pipeline.readings import FailingMeter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Engine

_LOAD = text("""
    SELECT id, failed_samples, failed_samples_since, failed_sample_reason, next_attempt_at
    FROM meter_status
    WHERE failed_samples > 0
""")

_SAVE = text("""
    INSERT INTO meter_status (id, failed_samples, failed_samples_since, failed_sample_reason, next_attempt_at)
    SELECT * FROM unnest(
        CAST(:id AS integer[]),
        CAST(:failed_samples AS integer[]),
        CAST(:since AS timestamptz[]),
        CAST(:reason AS text[]),
        CAST(:next_attempt_at AS timestamptz[])
    )
    ON CONFLICT (id) DO UPDATE SET
        failed_samples = excluded.failed_samples,
        failed_samples_since = excluded.failed_samples_since,
        failed_sample_reason = excluded.failed_sample_reason,
        next_attempt_at = excluded.next_attempt_at
""")


def load_failing(engine: Engine) -> dict[int, FailingMeter]:
    """Those that fail, by id.

    Raises:
        ConfigDatabaseError: The database cannot be read. Like the function below.
    """
    with database_errors(engine), engine.connect() as connection:
        return {row.id: FailingMeter(*row) for row in connection.execute(_LOAD)}


def save_failing(engine: Engine, changes: Mapping[int, FailingMeter | None]) -> None:
    """Keep by meter id how it fails; None for one that is well again."""
    if not changes:
        return
    ids = sorted(changes)  # two runs that write at once take locks in the same order
    states = [changes[id_] for id_ in ids]
    columns = {
        "id": ids,
        "failed_samples": [state.failures if state else 0 for state in states],
        "since": [state and state.since for state in states],
        "reason": [state and storable(state.reason) for state in states],
        "next_attempt_at": [state and state.next_attempt_at for state in states],
    }
    with database_errors(engine), engine.begin() as connection:
        connection.execute(_SAVE, columns)
