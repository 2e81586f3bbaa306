"""The data's way for one sample: read, decode, load. Dagster's steps and `emm poll` both go it.

pandas and the stores' clients are imported by the functions that need them: imports are most of a run's start.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from emm_pipeline.errors import RefusedPointsError, StoreError
from emm_pipeline.outcomes import PollPlan, SampleReport

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd

    from emm_pipeline.readings import MeterSample
    from emm_pipeline.stores.base import ReadingsStore


def read(
    plan: PollPlan,
    deadline: datetime,
    max_connections: int,
    on_sample: Callable[[MeterSample], None] | None = None,
) -> list[MeterSample]:
    """Read every meter of the plan once, side by side; whatever is not read by `deadline` (UTC) has failed."""
    from emm_pipeline.modbus.reading import read_meters  # noqa: PLC0415

    ends_at = time.monotonic() + (deadline - datetime.now(UTC)).total_seconds()
    return asyncio.run(
        read_meters(plan.meters, plan.types, deadline=ends_at, max_connections=max_connections, on_sample=on_sample)
    )


def decode(plan: PollPlan, samples: Sequence[MeterSample]) -> pd.DataFrame:
    """Return the samples' values, with the columns of `readings.READING_COLUMNS`."""
    from emm_pipeline.modbus.decoding import decode_samples  # noqa: PLC0415

    return decode_samples(samples, plan.types)


def load(
    store: ReadingsStore, samples: Sequence[MeterSample], readings: pd.DataFrame, due: datetime, started: datetime
) -> SampleReport:
    """Store the points and how each meter's reading went; what the store does not take is said in the report."""
    unstored = report(samples, readings, due, started)
    try:
        store.write(readings, unstored.records)
    except (StoreError, RefusedPointsError) as err:
        return replace(unstored, ended=datetime.now(UTC), store_error=str(err))
    return replace(unstored, ended=datetime.now(UTC))


def report(samples: Sequence[MeterSample], readings: pd.DataFrame, due: datetime, started: datetime) -> SampleReport:
    """Return how each meter's reading went, without storing anything."""
    from emm_pipeline.stores.points import poll_records  # noqa: PLC0415

    return SampleReport(due, started, datetime.now(UTC), tuple(poll_records(samples, readings)))
