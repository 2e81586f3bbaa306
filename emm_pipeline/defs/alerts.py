"""Alerts: a sensor raises and resolves them, a job sends them. Created if mail or a channel of Apprise is configured.

Sending is never part of a poll: a slow mail server delays no reading. The lines wait in the database, so that changes
that occur together, or while a channel is unavailable, are sent as one message. `emm watchdog` raises the alerts for a
dead daemon, code server or PostgreSQL.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from dagster import (
    DefaultSensorStatus,
    JobDefinition,
    OpExecutionContext,
    RunRequest,
    SensorDefinition,
    SensorEvaluationContext,
    SkipReason,
    job,
    op,
    sensor,
)

from emm_pipeline.alerts import rules
from emm_pipeline.alerts.channels import channels_of
from emm_pipeline.alerts.state import (
    claimed_lines,
    forget_other_channels,
    last_waiting_line,
    meter_conditions,
    raised_alerts,
    save_changes,
)
from emm_pipeline.condition.meters import STORE_IS_AWAY_AFTER
from emm_pipeline.condition.parts import parts_seen_by_the_daemon
from emm_pipeline.condition.probes import Part
from emm_pipeline.dagster_ext.internals import PlainFailureError
from emm_pipeline.defs.resources import ConfigDatabase
from emm_pipeline.defs.runs import MAX_RUNTIME_TAG
from emm_pipeline.errors import EmmError, OutboxError
from emm_pipeline.opening import open_outbox
from emm_pipeline.settings import Settings, current_settings

if TYPE_CHECKING:
    from emm_pipeline.stores.outbox.folder import Outbox

LOOK_EVERY_S = 30
TRY_AGAIN_EVERY_S = 300
"""Time between attempts to send a message that a channel does not accept."""

LINES_PER_MESSAGE = 1000


@op(name="send")
def send_waiting_lines(context: OpExecutionContext, config_database: ConfigDatabase) -> None:
    """Send the lines that wait, as one message per channel. Those that a channel does not accept continue to wait."""
    settings = current_settings()
    failed: list[str] = []
    with config_database.open() as engine:
        for channel in channels_of(settings):
            try:
                with claimed_lines(engine, LINES_PER_MESSAGE, channel.name) as lines:
                    if not lines:
                        continue
                    subject = f"{settings.logger_notification_email_subject}: {rules.headline(lines)}"
                    refused = channel.send(subject, "".join(f"{line.text}\n" for line in lines))
            except EmmError as err:
                failed.append(str(err))
                continue
            context.log.info(f"{channel.name}: sent {len(lines)} lines")
            if refused:
                context.log.warning(f"{channel.name}: the server refused {', '.join(refused)}")
    if failed:
        raise PlainFailureError(f"{'; '.join(failed)}; tried again in {TRY_AGAIN_EVERY_S // 60} minutes")


@job(name="send_alerts", tags={MAX_RUNTIME_TAG: "300"}, description="Sends the alerts that were raised and resolved.")
def send_alerts_job() -> None:
    """One step."""
    send_waiting_lines()


@sensor(
    name="alert_sensor",
    job=send_alerts_job,
    minimum_interval_seconds=LOOK_EVERY_S,
    default_status=DefaultSensorStatus.RUNNING,
    description="Raises an alert for a meter that fails for the third time, for a store for which readings wait, for a "
    "full outbox, for jobs that crash, and when polling stops. Resolves the alert when the cause is gone. Starts the "
    "job send_alerts.",
)
def alert_sensor(
    context: SensorEvaluationContext, config_database: ConfigDatabase
) -> Iterator[RunRequest | SkipReason]:
    """Compare the present conditions with the alerts that were raised before."""
    _ = context
    now = datetime.now(UTC)
    settings = current_settings()
    channels = [channel.name for channel in channels_of(settings)]
    with config_database.open() as engine:
        conditions = [*meter_conditions(engine), store_condition(open_outbox(settings), now)]
        conditions += [condition_of(part, now) for part in parts_seen_by_the_daemon(settings, now)]
        changes = rules.compare(conditions, raised_alerts(engine))
        if changes:
            last_ok_at = {condition.subject: condition.last_ok_at for condition in conditions if condition.last_ok_at}
            save_changes(engine, changes, rules.lines(changes, last_ok_at, ZoneInfo(settings.tz)), channels)
        forget_other_channels(engine, channels)
        last = last_waiting_line(engine)
    if last:
        # One run for each new line and for each attempt, since Dagster does not start a second run for the same key.
        yield RunRequest(run_key=f"line {last}, try {int(now.timestamp()) // TRY_AGAIN_EVERY_S}")
    else:
        yield SkipReason("No alert was raised or resolved.")


def condition_of(part: Part, now: datetime) -> rules.Condition:
    """Return the condition of a part of the pipeline."""
    if part.is_ok:
        return rules.Condition(part.name, part.name, last_ok_at=now)
    since = part.status.since or now
    return rules.Condition(part.name, part.name, rules.FAILURES, since, rules.with_advice(part.status))


def store_condition(outbox: "Outbox", now: datetime) -> rules.Condition:
    """Return the condition of the readings store, which fails if points have waited in the outbox for a long time."""
    subject, name = "store", "the readings store"
    try:
        since = outbox.waiting_since()
    except OutboxError:
        since = None  # the condition of the outbox says why it cannot be read
    if since is None:
        return rules.Condition(subject, name, last_ok_at=now)
    reason = f"the readings since then wait in the outbox ({outbox.last_error() or 'loading was not tried yet'})"
    return rules.Condition(subject, name, rules.FAILURES if now - since >= STORE_IS_AWAY_AFTER else 1, since, reason)


def alert_definitions(settings: Settings) -> tuple[list[JobDefinition], list[SensorDefinition]]:
    """Return the job and the sensor; nothing if neither EMAIL_NOTIFICATIONS nor ALERT_URLS is set."""
    return ([send_alerts_job], [alert_sensor]) if channels_of(settings) else ([], [])
