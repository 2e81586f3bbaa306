"""Which meters a run reads, and reading them: what `poll` does before anything is decoded."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from dagster import OpExecutionContext

from emm_pipeline import polling
from emm_pipeline.config_db.loader import load_fleet
from emm_pipeline.defs.partitions import existing_partitions
from emm_pipeline.defs.reporting import failed_in_run
from emm_pipeline.defs.resources import ConfigDatabase, Limits
from emm_pipeline.defs.runs import ScheduledPoll, resumes_failed_run
from emm_pipeline.memory import Turn
from emm_pipeline.outcomes import PollPlan, SampleReport, plan_meters, plan_shard
from emm_pipeline.polling import Polled
from emm_pipeline.readings import FailureKind, MeterSample
from emm_pipeline.sampling import UNSCHEDULED_SAMPLE, Sample, due_samples, last_deadline
from emm_pipeline.settings import current_settings
from emm_pipeline.sharding import Shard

CONCLUDE_PER_METER = timedelta(milliseconds=3)
"""What stating one meter's outcome may cost on a busy machine (0.9 ms measured)."""

WORTH_AN_ATTEMPT = timedelta(seconds=1)
"""How much of the sample's time must be left for a second attempt."""


def plan_run(context: OpExecutionContext, config_database: ConfigDatabase) -> PollPlan:
    """Take the run's meters from the database: its partitions, what failed in the run before, or its shard."""
    with config_database.open() as engine:
        fleet = load_fleet(engine)
    for finding in fleet.findings:
        context.log.warning(str(finding))
    if context.has_partition_key or context.has_partition_key_range:
        return plan_meters(fleet, {int(key) for key in context.partition_keys})
    if context.run.parent_run_id and resumes_failed_run(context.run):
        failed = failed_in_run(context.instance, context.run.parent_run_id)
        if failed is not None:
            return plan_meters(fleet, {int(key) for key in failed})
    poll = ScheduledPoll.of_run(context.run)
    discovered = {int(key) for key in existing_partitions(context.instance)}
    return plan_shard(fleet, poll.shard if poll else Shard(), discovered)


def due_times(context: OpExecutionContext, plan: PollPlan) -> tuple[list[Sample], list[datetime]]:
    """Return the samples that the run takes, and the due times that it is too late for; by hand: one, now."""
    now = datetime.now(UTC)
    poll = _scheduled(context)
    if poll is None:
        return [unscheduled(now)], []
    return due_samples(poll.window, current_settings().poll_trigger.seconds, now, _conclude_time(plan))


def unscheduled(now: datetime) -> Sample:
    """Return the sample of a run that someone started."""
    return Sample(now, now + UNSCHEDULED_SAMPLE)


def read_sample(
    context: OpExecutionContext, sample: Sample, plan: PollPlan, config_database: ConfigDatabase, limits: Limits
) -> Polled:
    """Read every meter of the plan side by side; on schedule, but for those that keep failing and are not due.

    A step that is executed again was given its parent's sample, whose time is over: it samples now.
    """
    if context.run.parent_run_id:
        sample = unscheduled(datetime.now(UTC))
    return _read(context, sample, plan, config_database, limits, _turn(context, sample.due))


def read_again(
    context: OpExecutionContext,
    report: SampleReport,
    plan: PollPlan,
    config_database: ConfigDatabase,
    limits: Limits,
) -> Polled | None:
    """Give the meters that failed in a run's last sample a second attempt, if there is time left and any is due."""
    poll = _scheduled(context)
    deadline = last_deadline(poll.window, _conclude_time(plan)) if poll else report.started + UNSCHEDULED_SAMPLE
    meters = tuple(meter for meter in plan.meters if meter.id in report.retriable)
    if not meters or deadline - datetime.now(UTC) < WORTH_AN_ATTEMPT:
        return None
    turn = _turn(context, report.due)
    again = replace(turn, again=True) if turn else None
    sample = Sample(report.due, deadline)
    polled = _read(context, sample, replace(plan, meters=meters), config_database, limits, again)
    asked = tuple(_without_not_due(polled.samples))
    return replace(polled, samples=asked) if asked else None


def _without_not_due(samples: Iterable[MeterSample]) -> Iterable[MeterSample]:
    return (s for s in samples if not (s.failure and s.failure.kind is FailureKind.NOT_DUE))


def _read(
    context: OpExecutionContext,
    sample: Sample,
    plan: PollPlan,
    config_database: ConfigDatabase,
    limits: Limits,
    turn: Turn | None,
) -> Polled:
    started = datetime.now(UTC)
    with config_database.open() as engine:
        samples = polling.read(plan, sample.deadline, limits.max_connections, engine=engine, turn=turn)
    failed = sum(1 for one in samples if one.failure)
    attempt = ", asked once more" if turn and turn.again else ""
    context.log.info(f"read {len(samples) - failed} of {len(samples)} meters{attempt}")
    return Polled(sample, started, tuple(samples))


def _scheduled(context: OpExecutionContext) -> ScheduledPoll | None:
    """The schedule's poll that the run is; a run that is executed again is someone's."""
    return None if context.run.parent_run_id else ScheduledPoll.of_run(context.run)


def _turn(context: OpExecutionContext, due: datetime) -> Turn | None:
    poll = _scheduled(context)
    if poll is None:
        return None
    trigger = current_settings().poll_trigger
    tick = poll.window.tick
    return Turn(due, (trigger.next_tick(tick) - tick) / len(trigger.seconds))


def _conclude_time(plan: PollPlan) -> timedelta:
    return len(plan.meters) * CONCLUDE_PER_METER
