"""Which meters a run reads, when, and reading them: what the steps of `poll` share."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from dagster import OpExecutionContext

from emm_pipeline.condition.meters import STORE_IS_AWAY_AFTER
from emm_pipeline.config_db.loader import load_fleet
from emm_pipeline.defs.partitions import existing_partitions, meter_ids, other_keys
from emm_pipeline.defs.reporting import failed_in_run
from emm_pipeline.defs.resources import ConfigDatabase, Limits, Readings
from emm_pipeline.defs.runs import ScheduledPoll, resumes_failed_run
from emm_pipeline.errors import OutboxError
from emm_pipeline.opening import open_outbox
from emm_pipeline.polling import pipeline
from emm_pipeline.polling.device_state import ScheduleSlot
from emm_pipeline.polling.plan import PollPlan, plan_meters, plan_shard
from emm_pipeline.polling.results import FleetReading, FleetResult
from emm_pipeline.polling.sharding import Shard
from emm_pipeline.polling.timing import UNSCHEDULED_READING, SampleTime, due_sample_times, last_deadline
from emm_pipeline.settings import current_settings

if TYPE_CHECKING:
    import pandas as pd

REPORT_PER_METER = timedelta(milliseconds=3)
"""What reporting one meter's result may take on a busy machine (0.9 ms measured)."""

WORTH_AN_ATTEMPT = timedelta(seconds=1)
"""How much of the reading's time must be left for a second attempt."""


def plan_run(context: OpExecutionContext, config_database: ConfigDatabase) -> PollPlan:
    """Take the run's meters from the database: its partitions, what failed in the run before, or its shard."""
    with config_database.open() as engine:
        fleet = load_fleet(engine)
    for issue in fleet.issues:
        context.log.warning(str(issue))
    if context.has_partition_key or context.has_partition_key_range:
        return plan_meters(fleet, meter_ids(context.partition_keys))
    if context.run.parent_run_id and resumes_failed_run(context.run):
        failed = failed_in_run(context.instance, context.run.parent_run_id)
        if failed is not None:
            return plan_meters(fleet, meter_ids(failed))
    poll = ScheduledPoll.of_run(context.run)
    discovered = meter_ids(existing_partitions(context.instance))
    return plan_shard(fleet, poll.shard if poll else Shard(), discovered)


def unknown_partitions(context: OpExecutionContext) -> list[str]:
    """Return the keys among the partitions that the run was started for that are no ids of meters."""
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
    """Return the run's sample times, and the due times that it is too late for. A run started by hand has one: now."""
    now = datetime.now(UTC)
    poll = _scheduled(context)
    if poll is None:
        return [unscheduled(now)], []
    return due_sample_times(poll.window, current_settings().poll_trigger.seconds, now, _report_time(plan))


def unscheduled(now: datetime) -> SampleTime:
    """Return the sample time of a run that a person started."""
    return SampleTime(now, now + UNSCHEDULED_READING)


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the meters of a plan for one run, and keeps their points in the outbox.

    It writes nothing to Dagster's event log: between the last reply and the outbox file nothing may need PostgreSQL.
    """

    context: OpExecutionContext
    plan: PollPlan
    config_database: ConfigDatabase
    readings: Readings
    limits: Limits

    def read(self, sample_time: SampleTime) -> "tuple[FleetReading, pd.DataFrame]":
        """Read every meter of the plan; on schedule without those that keep failing and are not due.

        A step that is executed again was given the sample time of its parent, which is over: it reads now.
        """
        if self.context.run.parent_run_id:
            sample_time = unscheduled(datetime.now(UTC))
        return self._read(self.plan, sample_time, _slot(self.context, sample_time.due))

    def read_again(self, result: FleetResult) -> FleetReading | None:
        """Give the meters that failed in a run's last reading a second attempt, if there is time and one is due."""
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
            limits = pipeline.Limits(self.limits.max_connections, engine, slot)
            return pipeline.read_and_decode(plan, sample_time, delivery, self.context.run_id, limits)


def said_of(fleet_readings: Iterable[FleetReading]) -> str:
    """Return in one line how many meters were read."""
    parts = [f"read {reading.meters_read} of {len(reading.poll_points)} meters" for reading in fleet_readings]
    return "; ".join(parts)


def is_scheduled(context: OpExecutionContext) -> bool:
    """Whether the schedule started the run; not a person, a backfill or a re-execution."""
    return _scheduled(context) is not None


def _scheduled(context: OpExecutionContext) -> ScheduledPoll | None:
    """The schedule's poll that the run is; a run that is executed again was started by a person."""
    return None if context.run.parent_run_id else ScheduledPoll.of_run(context.run)


def _slot(context: OpExecutionContext, due: datetime) -> ScheduleSlot | None:
    poll = _scheduled(context)
    if poll is None:
        return None
    trigger = current_settings().poll_trigger
    tick = poll.window.tick
    return ScheduleSlot(due, (trigger.next_tick(tick) - tick) / len(trigger.seconds))


def _report_time(plan: PollPlan) -> timedelta:
    return len(plan.meters) * REPORT_PER_METER
