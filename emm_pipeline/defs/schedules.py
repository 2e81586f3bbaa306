"""The schedules of discovery and poll. Both are on by default and can be switched off in the UI."""

from collections.abc import Iterator
from datetime import UTC, datetime

from dagster import (
    DefaultScheduleStatus,
    RunRequest,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SkipReason,
    schedule,
)

from emm_pipeline.cron import Trigger
from emm_pipeline.defs.discovery import discovery_job
from emm_pipeline.defs.partitions import existing_partitions, meter_ids, other_keys, quoted
from emm_pipeline.defs.poll import poll_job
from emm_pipeline.defs.runs import (
    MAX_RUNTIME_TAG,
    PRIORITY_TAG,
    TICK_TAG,
    ScheduledPoll,
    scheduled_polls_in_flight,
    without_lost,
)
from emm_pipeline.polling.sharding import Shard, shards_for
from emm_pipeline.polling.timing import window_of
from emm_pipeline.settings import Settings

POLL_PRIORITY = "20"
DISCOVERY_PRIORITY = "10"
"""Priorities of scheduled runs: they leave the queue before the runs of a backfill (0), as a poll has a due time."""

RUNTIME_SLACK_S = 60
"""Seconds that a poll may run longer than its window before the daemon ends it."""


def build_schedules(settings: Settings) -> list[ScheduleDefinition]:
    """Return both schedules, with the triggers of the settings."""
    return [_discovery_schedule(settings.discovery_trigger), _poll_schedule(settings)]


def _discovery_schedule(trigger: Trigger) -> ScheduleDefinition:
    @schedule(
        name="discovery_schedule",
        job=discovery_job,
        cron_schedule=trigger.cron,
        execution_timezone=trigger.time_zone,
        default_status=DefaultScheduleStatus.RUNNING,
        description="Finds new, changed and removed meters in the database (SCHEDULER_CRON_*_TRIGGER).",
    )
    def discovery_schedule(context: ScheduleEvaluationContext) -> RunRequest:
        tick = context.scheduled_execution_time.astimezone(UTC).isoformat()
        return RunRequest(run_key=tick, tags={TICK_TAG: tick, PRIORITY_TAG: DISCOVERY_PRIORITY})

    return discovery_schedule


def _poll_schedule(settings: Settings) -> ScheduleDefinition:
    trigger = settings.poll_trigger

    @schedule(
        name="poll_schedule",
        job=poll_job,
        cron_schedule=trigger.cron,
        execution_timezone=trigger.time_zone,
        default_status=DefaultScheduleStatus.RUNNING,
        description="Reads every meter (INFLUX_UPDATER_CRON_*_TRIGGER).",
    )
    def poll_schedule(context: ScheduleEvaluationContext) -> Iterator[RunRequest | SkipReason]:
        keys = existing_partitions(context.instance)
        if others := other_keys(keys):
            context.log.warning(f"partitions that are not the id of a meter are ignored: {quoted(others)}")
        ids = meter_ids(keys)
        if not ids:
            yield SkipReason("No meters: the discovery has found no enabled row in energy_meters yet.")
            return
        tick = context.scheduled_execution_time.astimezone(UTC)
        now = max(datetime.now(UTC), tick)  # the daemon evaluates a tick before its time
        in_flight = without_lost(context.instance, scheduled_polls_in_flight(context.instance), now)
        requests, reasons = decide_polls(tick, trigger, shards_for(ids, settings.meters_per_run), in_flight)
        for reason in reasons:
            context.log.warning(reason)
        yield from requests
        if not requests:
            yield SkipReason(" ".join(reasons))

    return poll_schedule


def decide_polls(
    tick: datetime, trigger: Trigger, shards: list[Shard], in_flight: list[ScheduledPoll]
) -> tuple[list[RunRequest], list[str]]:
    """Return a run request for each free shard, and the reason for skipping each shard that is still being polled."""
    window = window_of(tick, trigger)
    interval = trigger.next_tick(tick) - tick
    requests: list[RunRequest] = []
    reasons: list[str] = []
    for shard in shards:
        busy = next((poll for poll in in_flight if poll.holds_up(shard, tick, interval)), None)
        if busy:
            reasons.append(
                f"Shard {shard} is still being polled by run {busy.run_id[:8]} of {busy.window.tick:%H:%M:%S} UTC, "
                f"which should have ended by {busy.window.until:%H:%M:%S}."
            )
            continue
        longest = (window.until - window.tick).total_seconds() + RUNTIME_SLACK_S
        tags = {PRIORITY_TAG: POLL_PRIORITY, MAX_RUNTIME_TAG: str(int(longest))}
        requests.append(
            RunRequest(run_key=f"{tick.isoformat()} {shard}", tags=ScheduledPoll(shard, window).tags() | tags)
        )
    return requests, reasons
