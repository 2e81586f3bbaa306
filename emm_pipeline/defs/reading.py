"""Which meters a run reads, and reading them: what `poll` does before anything is decoded."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from dagster import OpExecutionContext

from emm_pipeline.config_db.loader import load_fleet
from emm_pipeline.defs.partitions import existing_partitions
from emm_pipeline.defs.reporting import failed_in_run
from emm_pipeline.defs.resources import ConfigDatabase, Limits
from emm_pipeline.defs.runs import ScheduledPoll, resumes_failed_run
from emm_pipeline.polling import pipeline
from emm_pipeline.polling.device_state import ScheduleSlot
from emm_pipeline.polling.pipeline import FleetReading
from emm_pipeline.polling.plan import PollPlan, plan_meters, plan_shard
from emm_pipeline.polling.results import FleetResult
from emm_pipeline.polling.sharding import Shard
from emm_pipeline.polling.timing import UNSCHEDULED_SAMPLE, SampleTime, due_sample_times, last_deadline
from emm_pipeline.readings import FailureKind, MeterReading
from emm_pipeline.settings import current_settings

CONCLUDE_PER_METER = timedelta(milliseconds=3)
"""What stating one meter's outcome may cost on a busy machine (0.9 ms measured)."""

WORTH_AN_ATTEMPT = timedelta(seconds=1)
"""How much of the sample's time must be left for a second attempt."""


def plan_run(context: OpExecutionContext, config_database: ConfigDatabase) -> PollPlan:
    """Take the run's meters from the database: its partitions, what failed in the run before, or its shard."""
    with config_database.open() as engine:
        fleet = load_fleet(engine)
    for issue in fleet.issues:
        context.log.warning(str(issue))
    if context.has_partition_key or context.has_partition_key_range:
        return plan_meters(fleet, {int(key) for key in context.partition_keys})
    if context.run.parent_run_id and resumes_failed_run(context.run):
        failed = failed_in_run(context.instance, context.run.parent_run_id)
        if failed is not None:
            return plan_meters(fleet, {int(key) for key in failed})
    poll = ScheduledPoll.of_run(context.run)
    discovered = {int(key) for key in existing_partitions(context.instance)}
    return plan_shard(fleet, poll.shard if poll else Shard(), discovered)


def due_times(context: OpExecutionContext, plan: PollPlan) -> tuple[list[SampleTime], list[datetime]]:
    """Return the samples that the run takes, and the due times that it is too late for; by hand: one, now."""
    now = datetime.now(UTC)
    poll = _scheduled(context)
    if poll is None:
        return [unscheduled(now)], []
    return due_sample_times(poll.window, current_settings().poll_trigger.seconds, now, _conclude_time(plan))


def unscheduled(now: datetime) -> SampleTime:
    """Return the sample of a run that someone started."""
    return SampleTime(now, now + UNSCHEDULED_SAMPLE)


def read_fleet(
    context: OpExecutionContext, sample: SampleTime, plan: PollPlan, config_database: ConfigDatabase, limits: Limits
) -> FleetReading:
    """Read every meter of the plan side by side; on schedule, but for those that keep failing and are not due.

    A step that is executed again was given its parent's sample, whose time is over: it samples now.
    """
    if context.run.parent_run_id:
        sample = unscheduled(datetime.now(UTC))
    return _read(context, sample, plan, config_database, limits, _turn(context, sample.due))


def read_again(
    context: OpExecutionContext,
    report: FleetResult,
    plan: PollPlan,
    config_database: ConfigDatabase,
    limits: Limits,
) -> FleetReading | None:
    """Give the meters that failed in a run's last sample a second attempt, if there is time left and any is due."""
    poll = _scheduled(context)
    deadline = last_deadline(poll.window, _conclude_time(plan)) if poll else report.started + UNSCHEDULED_SAMPLE
    meters = tuple(meter for meter in plan.meters if meter.id in report.retriable)
    if not meters or deadline - datetime.now(UTC) < WORTH_AN_ATTEMPT:
        return None
    turn = _turn(context, report.due)
    again = replace(turn, again=True) if turn else None
    sample = SampleTime(report.due, deadline)
    polled = _read(context, sample, replace(plan, meters=meters), config_database, limits, again)
    asked = tuple(_without_not_due(polled.samples))
    return replace(polled, samples=asked) if asked else None


def _without_not_due(samples: Iterable[MeterReading]) -> Iterable[MeterReading]:
    return (s for s in samples if not (s.failure and s.failure.kind is FailureKind.NOT_DUE))


def _read(
    context: OpExecutionContext,
    sample: SampleTime,
    plan: PollPlan,
    config_database: ConfigDatabase,
    limits: Limits,
    turn: ScheduleSlot | None,
) -> FleetReading:
    started = datetime.now(UTC)
    with config_database.open() as engine:
        samples = pipeline.read(plan, sample.deadline, limits.max_connections, engine=engine, turn=turn)
    failed = sum(1 for one in samples if one.failure)
    attempt = ", asked once more" if turn and turn.again else ""
    context.log.info(f"read {len(samples) - failed} of {len(samples)} meters{attempt}")
    return FleetReading(sample, started, tuple(samples))


def _scheduled(context: OpExecutionContext) -> ScheduledPoll | None:
    """The schedule's poll that the run is; a run that is executed again is someone's."""
    return None if context.run.parent_run_id else ScheduledPoll.of_run(context.run)


def _turn(context: OpExecutionContext, due: datetime) -> ScheduleSlot | None:
    poll = _scheduled(context)
    if poll is None:
        return None
    trigger = current_settings().poll_trigger
    tick = poll.window.tick
    return ScheduleSlot(due, (trigger.next_tick(tick) - tick) / len(trigger.seconds))


def _conclude_time(plan: PollPlan) -> timedelta:
    return len(plan.meters) * CONCLUDE_PER_METER
