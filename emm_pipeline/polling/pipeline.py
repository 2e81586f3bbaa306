"""The path of the data for one fleet reading: read, decode, keep in the outbox, load into the store.

Dagster's steps and `emm poll` both use it. From the last reply of a fleet reading until its points are in the outbox,
this code does not need PostgreSQL or Dagster, because a reading that is lost in between cannot be repeated.

Functions import pandas and the stores' clients themselves, because imports take most of the time of a run's start.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from emm_pipeline.errors import OutboxError
from emm_pipeline.modbus.fleet_reading import Conditions, read_meters
from emm_pipeline.polling.clock import clock_issue
from emm_pipeline.polling.decoded import Decoded, describe
from emm_pipeline.polling.device_state import load_device_states, save_device_states
from emm_pipeline.polling.open_gateways import OpenGateways
from emm_pipeline.polling.results import FleetReading, FleetResult
from emm_pipeline.polling.run_state import state_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from typing import Any

    import pandas as pd
    from sqlalchemy import Engine

    from emm_pipeline.modbus.decoding import DecodedReadings
    from emm_pipeline.modbus.gateway_locks import GatewayLocks
    from emm_pipeline.modbus.kept_sessions import KeptSessions
    from emm_pipeline.polling.device_state import DeviceStates, ScheduleSlot
    from emm_pipeline.polling.plan import PollPlan
    from emm_pipeline.polling.timing import SampleTime
    from emm_pipeline.readings import MeterReading
    from emm_pipeline.stores.delivery import Delivery, Loaded
    from emm_pipeline.stores.outbox.batch import Batch


@dataclass(frozen=True, slots=True)
class Limits:
    """The resources of a reading, and its place on the schedule.

    `engine` is the configuration database, which holds gateway locks and device state; without it, neither is used.
    `slot` is the reading's place on the schedule, which reads meters that keep failing less often; without it, all
    meters are due now. `gateways` are the connections that the run keeps, and `next_in_s` the seconds until it reads
    again; without them, all connections are closed after the reading.
    """

    max_connections: int | None
    engine: Engine | None = None
    slot: ScheduleSlot | None = None
    gateways: OpenGateways | None = None
    next_in_s: float | None = None


def read_and_decode(
    plan: PollPlan, sample_time: SampleTime, delivery: Delivery, run: str, limits: Limits
) -> tuple[FleetReading, pd.DataFrame]:
    """Read every meter of the plan once, decode the registers and keep the points in the outbox.

    Args:
        plan: The meters and their types.
        sample_time: The due time and the deadline of the reading; a meter that was not read by then has failed.
        delivery: The outbox and the store. If the outbox cannot be written, the points are sent to the store at once.
        run: Name of the run; unique together with the start time of the reading.
        limits: The resources of the reading. At a second attempt, the result omits meters that are not due.

    Returns:
        The fleet reading, and the readings with the columns of `readings.READING_COLUMNS`.
    """
    known = state_of(run)
    states = known.device_states(limits.engine, plan, limits.slot) if limits.engine else None
    started = datetime.now(UTC)
    readings = _read_due(plan, sample_time.deadline, limits, states)
    wrong_clock = clock_issue(started, states.newest_reading if states else None)
    accepted = states.accepted if states else {}
    reported, found = states.reported(readings) if states else readings, decode(plan, readings)
    counters = known.compare_counters(readings, found.frame, plan, states)
    context = wrong_clock, accepted, found.notices, counters
    decoded = Decoded(sample_time, started, reported, found.frame, plan.types, *context)
    fleet_reading = keep(delivery, decoded, run)
    if limits.engine and states:
        known.save(limits.engine, states, readings)
    return fleet_reading, decoded.frame


def read(
    plan: PollPlan, deadline: datetime, limits: Limits, on_reading: Callable[[MeterReading], None] | None = None
) -> list[MeterReading]:
    """Read every meter of the plan once, different gateways concurrently.

    Args:
        plan: The meters and their types.
        deadline: The time at which reading ends (UTC); a meter that was not read by then has failed.
        limits: The resources of the reading.
        on_reading: Called with each meter reading as soon as the meter has been read.

    Returns:
        One meter reading per meter, in the order of the plan.
    """
    states = load_device_states(limits.engine, plan, limits.slot) if limits.engine else None
    readings = _read_due(plan, deadline, limits, states, on_reading)
    if limits.engine and states:
        save_device_states(limits.engine, states, readings)
    return readings


def _read_due(
    plan: PollPlan,
    deadline: datetime,
    limits: Limits,
    states: DeviceStates | None,
    on_reading: Callable[[MeterReading], None] | None = None,
) -> list[MeterReading]:
    """Read the meters that are due; the others get a reading with the reason why they are not."""
    if states is None:
        return _read(plan, deadline, limits, Conditions(limits.max_connections), on_reading)
    if not states.is_loaded:
        limits = replace(limits, engine=None)  # no gateway locks: asking for them takes another 5 s
    not_due = states.not_due()
    due = replace(plan, meters=tuple(meter for meter in plan.meters if meter.id not in not_due))
    readings = _read(due, deadline, limits, states.conditions(limits.max_connections), on_reading)
    by_id = not_due | {reading.meter.id: reading for reading in readings}
    return [by_id[meter.id] for meter in plan.meters]


def _read(
    plan: PollPlan,
    deadline: datetime,
    limits: Limits,
    conditions: Conditions,
    on_reading: Callable[[MeterReading], None] | None,
) -> list[MeterReading]:
    ends_at = time.monotonic() + (deadline - datetime.now(UTC)).total_seconds()

    def read(locks: GatewayLocks, kept: KeptSessions | None) -> Coroutine[Any, Any, list[MeterReading]]:
        used = replace(conditions, locks=locks, kept=kept)
        return read_meters(plan.meters, plan.types, deadline=ends_at, conditions=used, on_reading=on_reading)

    gateways = limits.gateways or OpenGateways()
    try:
        return gateways.run(read, limits.engine, limits.next_in_s)
    finally:
        if limits.gateways is None:
            gateways.close()


def decode(plan: PollPlan, readings: Sequence[MeterReading]) -> DecodedReadings:
    """Return the values of the meter readings (columns: `readings.READING_COLUMNS`), and notices on others."""
    from emm_pipeline.modbus.decoding import decode_with_notices  # noqa: PLC0415

    return decode_with_notices(readings, plan.types)


def keep(delivery: Delivery, decoded: Decoded, run: str) -> FleetReading:
    """Write the points of a fleet reading to the outbox. If that is impossible, load them into the store at once.

    Args:
        delivery: The outbox and the store.
        decoded: The meters and their values.
        run: Name of the run; unique together with `decoded.started`.
    """
    from emm_pipeline.stores.shaping import shape_points  # noqa: PLC0415

    described = describe(decoded)
    shaped = shape_points(decoded.frame, described.poll_points)
    described = replace(described, unstored=shaped.unstorable)
    if not len(shaped.points):
        return described
    try:
        batch = delivery.put(shaped.points, decoded.started, run)
    except OutboxError as err:
        loaded = delivery.load(shaped.points, until=_until(decoded.sample_time.deadline))
        return replace(described, loaded=replace(loaded, problems=(str(err), *loaded.problems)))
    _release_batches_of_other_runs(run)
    _held[batch.name] = batch
    return replace(described, batch=batch.name)


_held: dict[str, Batch] = {}
"""Batches that this process keeps locked until it loads them, so that no replay loads them in the meantime."""


def _release_batches_of_other_runs(run: str) -> None:
    """Release batches of runs that ended before loading them, for the replay. A Celery worker executes several runs."""
    for name in [name for name in _held if run not in name]:
        _held.pop(name).close()


def load(delivery: Delivery, fleet_reading: FleetReading) -> FleetResult:
    """Load the points of a fleet reading from the outbox into the store; the result lists points that are not stored.

    If the batch is no longer in the outbox, a replay has loaded it and reports the points that the store rejected.
    """
    from emm_pipeline.stores.delivery import Loaded  # noqa: PLC0415

    loaded = fleet_reading.loaded
    if fleet_reading.batch is not None:
        batch = _held.pop(fleet_reading.batch, None) or delivery.claim(fleet_reading.batch)
        loaded = delivery.load(batch, until=_until(fleet_reading.deadline)) if batch else None
        if batch is None and fleet_reading.batch in delivery.outbox.names():
            loaded = Loaded(problems=(f"{fleet_reading.batch} waits in the outbox: another process is loading it",))
    return result_of(fleet_reading, loaded)


def result_of(fleet_reading: FleetReading, loaded: Loaded | None = None) -> FleetResult:
    """Return the result of a fleet reading; `loaded` is the result of loading its points."""
    unstored = dict(fleet_reading.unstored)
    if loaded:
        unstored |= loaded.rejected_by_meter()
        if loaded.lost:
            unstored |= {point.id: loaded.problems[-1] for point in fleet_reading.poll_points if point.points}
    return FleetResult(
        fleet_reading.due,
        fleet_reading.started,
        datetime.now(UTC),
        fleet_reading.poll_points,
        unstored=unstored,
        store_problems=loaded.problems if loaded else (),
        notices=fleet_reading.notices,
        retriable=fleet_reading.retriable,
        clock_issue=fleet_reading.clock_issue,
        issues=fleet_reading.issues,
        counters=fleet_reading.counters,
    )


def _until(deadline: datetime) -> float:
    """Convert a deadline (UTC) to the clock of `time.monotonic`."""
    return time.monotonic() + (deadline - datetime.now(UTC)).total_seconds()
