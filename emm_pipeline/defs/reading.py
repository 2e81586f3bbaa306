"""Code that the steps of `poll` share: choose a run's meters and sample times, and read the meters."""

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from dagster import OpExecutionContext

from emm_pipeline.condition.meters import STORE_IS_AWAY_AFTER
from emm_pipeline.config_db.loader import Wanted, load_fleet
from emm_pipeline.defs.partitions import existing_partitions, meter_ids, other_keys
from emm_pipeline.defs.reporting import failed_in_run
from emm_pipeline.defs.resources import ConfigDatabase, Limits, Readings
from emm_pipeline.defs.runs import ScheduledPoll, resumes_failed_run
from emm_pipeline.errors import OutboxError
from emm_pipeline.fleet import Fleet
from emm_pipeline.opening import open_outbox
from emm_pipeline.polling import pipeline
from emm_pipeline.polling.device_state import ScheduleSlot
from emm_pipeline.polling.last_values import last_values
from emm_pipeline.polling.open_gateways import gateways_of
from emm_pipeline.polling.plan import PollPlan, plan_meters, plan_shard
from emm_pipeline.polling.results import FleetReading, FleetResult
from emm_pipeline.polling.run_state import state_of
from emm_pipeline.polling.sharding import Shard
from emm_pipeline.polling.timing import UNSCHEDULED_READING, SampleTime, due_sample_times, last_deadline
from emm_pipeline.settings import current_settings

if TYPE_CHECKING:
    import pandas as pd

REPORT_PER_METER = timedelta(milliseconds=3)
"""Time for reporting one meter's result on a busy machine (0.9 ms was measured)."""

SECOND_ATTEMPT_WITHIN_S = 60.0
"""Time after the last reading for which connections stay open for a second attempt, where the type says so."""

PREPARED_BEFORE = timedelta(seconds=2)
"""Time before a sample time at which device state is loaded. Less than START_MARGIN: the run before has saved it."""

ENOUGH_TO_PREPARE = timedelta(seconds=0.5)
"""Time that must be left before a sample time for loading device state before it."""

WORTH_AN_ATTEMPT = timedelta(seconds=1)
"""Time that must be left before the deadline for a second attempt."""


def plan_run(context: OpExecutionContext, config_database: ConfigDatabase) -> PollPlan:
    """Choose the run's meters: those of its partitions, those that failed in its parent run, or those of its shard."""
    chosen = _chosen_meters(context)
    if chosen is not None:
        ids = meter_ids(chosen)
        return plan_meters(_load_fleet(context, config_database, lambda meter_id, _: meter_id in ids), ids)
    poll = ScheduledPoll.of_run(context.run)
    shard = poll.shard if poll else Shard()
    fleet = _load_fleet(context, config_database, shard.may_need)
    return plan_shard(fleet, shard, meter_ids(existing_partitions(context.instance)))


def _chosen_meters(context: OpExecutionContext) -> Collection[str] | None:
    """Return the keys of the run's partitions, or of the meters that failed in its parent; None: not chosen by key."""
    if context.has_partition_key or context.has_partition_key_range:
        return context.partition_keys
    if context.run.parent_run_id and resumes_failed_run(context.run):
        return failed_in_run(context.instance, context.run.parent_run_id)
    return None


def _load_fleet(context: OpExecutionContext, config_database: ConfigDatabase, wanted: Wanted) -> Fleet:
    with config_database.open() as engine:
        fleet = load_fleet(engine, wanted=wanted)
    for issue in fleet.issues:
        context.log.warning(str(issue))
    return fleet


def unknown_partitions(context: OpExecutionContext) -> list[str]:
    """Return the partition keys of the run that are not ids of meters."""
    if context.has_partition_key or context.has_partition_key_range:
        return other_keys(context.partition_keys)
    return []


def waiting_points() -> list[str]:
    """Return in one line that points wait in the outbox, if they do so for long."""
    outbox = open_outbox(current_settings())
    try:
        since = outbox.waiting_since()
    except OutboxError as err:
        return [str(err)]
    if since is None or datetime.now(UTC) - since < STORE_IS_AWAY_AFTER:
        return []
    return [f"points since {since:%Y-%m-%d %H:%M:%S} UTC wait: {outbox.last_error() or 'loading was not tried yet'}"]


def due_times(context: OpExecutionContext, plan: PollPlan) -> tuple[list[SampleTime], list[datetime]]:
    """Return the run's sample times, and the due times that it skips. A run started by hand has only one: now."""
    now = datetime.now(UTC)
    poll = _scheduled(context)
    if poll is None:
        return [unscheduled(now)], []
    return due_sample_times(poll.window, current_settings().poll_trigger.seconds, now, _report_time(plan))


def unscheduled(now: datetime) -> SampleTime:
    """Return the sample time of a run that a person started at `now`."""
    return SampleTime(now, now + UNSCHEDULED_READING)


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the meters of a plan for one run, and keeps their points in the outbox.

    It does not write to Dagster's event log, because PostgreSQL must not be needed between the last reply and the
    outbox.
    """

    context: OpExecutionContext
    plan: PollPlan
    config_database: ConfigDatabase
    readings: Readings
    limits: Limits

    def wait(self, sample_time: SampleTime) -> None:
        """Load what the reading needs from the database, and then wait until the sample time is due."""
        _sleep_until(sample_time.due - PREPARED_BEFORE)
        if sample_time.due - datetime.now(UTC) > ENOUGH_TO_PREPARE and not self.context.run.parent_run_id:
            with self.config_database.open() as engine:
                state_of(self.context.run_id).prepare(engine, self.plan, _slot(self.context, sample_time.due))
        _sleep_until(sample_time.due)

    def read(self, sample_time: SampleTime) -> "tuple[FleetReading, pd.DataFrame]":
        """Read every meter of the plan; a scheduled run skips meters that keep failing and are not due.

        A re-executed step gets the sample time of its parent run, which has passed: it reads immediately.
        """
        if self.context.run.parent_run_id:
            sample_time = unscheduled(datetime.now(UTC))
        return self._read(self.plan, sample_time, _slot(self.context, sample_time.due))

    def read_again(self, result: FleetResult) -> FleetReading | None:
        """Read meters that failed in a run's last reading once more, if there is time and a second attempt may help."""
        poll = _scheduled(self.context)
        report_time = _report_time(self.plan)
        deadline = last_deadline(poll.window, report_time) if poll else result.started + UNSCHEDULED_READING
        meters = tuple(meter for meter in self.plan.meters if meter.id in result.retriable)
        if not meters or deadline - datetime.now(UTC) < WORTH_AN_ATTEMPT:
            return None
        slot = _slot(self.context, result.due)
        again = replace(slot, again=True) if slot else None
        plan = replace(self.plan, meters=meters)
        fleet_reading, _ = self._read(plan, SampleTime(result.due, deadline), again)
        return fleet_reading if fleet_reading.poll_points else None

    def _read(
        self, plan: PollPlan, sample_time: SampleTime, slot: ScheduleSlot | None
    ) -> "tuple[FleetReading, pd.DataFrame]":
        with self.config_database.open() as engine, self.readings.open() as delivery:
            gateways, next_in_s = gateways_of(self.context.run_id), _seconds_to_next(sample_time)
            limits = pipeline.Limits(self.limits.max_connections, engine, slot, gateways, next_in_s)
            reading, frame = pipeline.read_and_decode(plan, sample_time, delivery, self.context.run_id, limits)
        frames = _last_frames.pop(self.context.run_id, [])
        _last_frames.clear()
        _last_frames[self.context.run_id] = [*frames[-1:], frame]
        return reading, frame


_last_frames: "dict[str, list[pd.DataFrame]]" = {}
"""The values of the last two readings of the run that this process executes: the last one may be a second attempt."""


def values_read(context: OpExecutionContext, ids: Collection[int]) -> dict[int, str]:
    """Return by meter id its last values, in one line; of meters that this process has read in the run."""
    values: dict[int, str] = {}
    for frame in _last_frames.get(context.run_id, ()):
        values |= last_values(frame, ids)
    return values


def said_of(fleet_readings: Iterable[FleetReading]) -> str:
    """Return one line with the numbers of meters that were read."""
    parts = [f"read {reading.meters_read} of {len(reading.poll_points)} meters" for reading in fleet_readings]
    return "; ".join(parts)


def is_scheduled(context: OpExecutionContext) -> bool:
    """Whether the schedule started the run; not a person, a backfill or a re-execution."""
    return _scheduled(context) is not None


def _scheduled(context: OpExecutionContext) -> ScheduledPoll | None:
    """Return the schedule's poll if the run is one; a re-executed run counts as started by a person."""
    return None if context.run.parent_run_id else ScheduledPoll.of_run(context.run)


def _seconds_to_next(sample_time: SampleTime) -> float:
    """Return the seconds from a reading until the run's next one, or until its report, with a second attempt."""
    if sample_time.next_due is None:
        return SECOND_ATTEMPT_WITHIN_S
    return (sample_time.next_due - max(sample_time.due, datetime.now(UTC))).total_seconds()


def _slot(context: OpExecutionContext, due: datetime) -> ScheduleSlot | None:
    poll = _scheduled(context)
    if poll is None:
        return None
    trigger = current_settings().poll_trigger
    tick = poll.window.tick
    return ScheduleSlot(due, (trigger.next_tick(tick) - tick) / len(trigger.seconds))


def _report_time(plan: PollPlan) -> timedelta:
    return len(plan.meters) * REPORT_PER_METER


def _sleep_until(due: datetime) -> None:
    time.sleep(max(0.0, (due - datetime.now(UTC)).total_seconds()))
