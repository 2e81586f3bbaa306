"""The data's way for one sample: read, decode, load. Dagster's steps and `emm poll` both go it.

pandas and the stores' clients are imported by the functions that need them: imports are most of a run's start.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from emm_pipeline.config_db.gateway_locks import gateway_locks
from emm_pipeline.event_loop import run_fast
from emm_pipeline.modbus.reading import Conditions, read_meters
from emm_pipeline.polling.device_state import ScheduleSlot, load_device_states, save_device_states
from emm_pipeline.polling.results import FleetResult

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd
    from sqlalchemy import Engine

    from emm_pipeline.polling.plan import PollPlan
    from emm_pipeline.polling.timing import SampleTime
    from emm_pipeline.readings import MeterReading
    from emm_pipeline.stores.base import RejectedPoint
    from emm_pipeline.stores.delivery import Delivery


@dataclass(frozen=True, slots=True)
class FleetReading:
    """A sample as it was read, on its way to `decode` and `load`. `started` (UTC) is when reading began."""

    sample: SampleTime
    started: datetime
    samples: tuple[MeterReading, ...]


def read(  # noqa: PLR0913 - the last two go together, and are named
    plan: PollPlan,
    deadline: datetime,
    max_connections: int,
    on_sample: Callable[[MeterReading], None] | None = None,
    *,
    engine: Engine | None = None,
    turn: ScheduleSlot | None = None,
) -> list[MeterReading]:
    """Read every meter of the plan once, side by side; whatever is not read by `deadline` (UTC) has failed.

    Args:
        plan: The meters and their types.
        deadline: When to end at the latest.
        max_connections: How many connections are open at the same time at most.
        on_sample: Called with each sample as soon as its meter is done.
        engine: The configuration database, where gateways are locked and meters remembered. Without it, neither is.
        turn: The sample's place on the schedule, which asks meters that keep failing less often. Without it, someone
            asks for all meters now.

    Returns:
        One sample per meter, in the order of the plan.
    """
    if engine is None:
        return run_fast(_read(plan, deadline, Conditions(max_connections), on_sample))
    memory = load_device_states(engine, plan, turn)
    not_due = memory.not_due()
    asked = replace(plan, meters=tuple(meter for meter in plan.meters if meter.id not in not_due))
    conditions = Conditions(max_connections, refused=memory.refused, failing=memory.keep_failing, models=memory.models)
    samples = run_fast(_read_locked(engine, asked, deadline, conditions, on_sample))
    save_device_states(engine, memory, samples)
    by_id = not_due | {sample.meter.id: sample for sample in samples}
    return [by_id[meter.id] for meter in plan.meters]


async def _read_locked(
    engine: Engine,
    plan: PollPlan,
    deadline: datetime,
    conditions: Conditions,
    on_sample: Callable[[MeterReading], None] | None,
) -> list[MeterReading]:
    async with gateway_locks(engine) as locks:
        return await _read(plan, deadline, replace(conditions, locks=locks), on_sample)


async def _read(
    plan: PollPlan, deadline: datetime, conditions: Conditions, on_sample: Callable[[MeterReading], None] | None
) -> list[MeterReading]:
    ends_at = time.monotonic() + (deadline - datetime.now(UTC)).total_seconds()
    return await read_meters(plan.meters, plan.types, deadline=ends_at, conditions=conditions, on_sample=on_sample)


def decode(plan: PollPlan, samples: Sequence[MeterReading]) -> pd.DataFrame:
    """Return the samples' values, with the columns of `readings.READING_COLUMNS`."""
    from emm_pipeline.modbus.decoding import decode_readings  # noqa: PLC0415

    return decode_readings(samples, plan.types)


def load(delivery: Delivery, polled: FleetReading, readings: pd.DataFrame, run: str) -> FleetResult:
    """Store the points and how each meter's reading went; what is not in the store at the end is said in the report.

    Args:
        delivery: the store, and the outbox before it.
        polled: the meters as they were read.
        readings: their values.
        run: who read them; unique with `polled.started`.
    """
    from emm_pipeline.stores.points import poll_lines, reading_lines  # noqa: PLC0415

    read = report(polled, readings)
    shaped = reading_lines(readings) + poll_lines(read.records)
    until = time.monotonic() + (polled.sample.deadline - datetime.now(UTC)).total_seconds()
    loaded = delivery.load(shaped.lines, polled.started, run, until=until)
    unstored = shaped.refused | _refused_by_meter(loaded.refused)
    if loaded.lost:
        unstored |= {record.id: loaded.problems[-1] for record in read.records if record.points}
    return replace(read, ended=datetime.now(UTC), unstored=unstored, store_problems=loaded.problems)


def _refused_by_meter(refused: Sequence[RejectedPoint]) -> dict[int, str]:
    from emm_pipeline.stores.influxdb.line_protocol import meter_of  # noqa: PLC0415
    from emm_pipeline.stores.points import number_of  # noqa: PLC0415

    by_meter: dict[int, list[str]] = {}
    for refusal in refused:
        meter_id = meter_of(refusal.line)
        if meter_id is not None:
            by_meter.setdefault(meter_id, []).append(refusal.reason)
    return {
        meter_id: f"{number_of(len(reasons), 'point')} refused, kept in the outbox's folder rejected: {reasons[0]}"
        for meter_id, reasons in by_meter.items()
    }


def report(polled: FleetReading, readings: pd.DataFrame) -> FleetResult:
    """Return how each meter's reading went, without storing anything."""
    from emm_pipeline.stores.points import poll_points  # noqa: PLC0415

    return FleetResult(
        polled.sample.due,
        polled.started,
        datetime.now(UTC),
        tuple(poll_points(polled.samples, readings)),
        notices={sample.meter.id: sample.notices for sample in polled.samples if sample.notices},
        retriable=frozenset(sample.meter.id for sample in polled.samples if sample.is_retriable),
    )
