"""Alerts by mail: a sensor raises and resolves them, a job mails them. Defined only if mail is switched on.

Mail is not part of a poll, so that a slow mail server does not delay readings. The lines wait in the database, so that
changes at the same time, or while the mail server is unavailable, are sent as one mail.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from dagster import (
    DefaultSensorStatus,
    Failure,
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
from emm_pipeline.alerts.mail import MailError, MailServer, compose, send
from emm_pipeline.alerts.state import claimed_lines, last_waiting_line, meter_conditions, raised_alerts, save_changes
from emm_pipeline.defs.resources import ConfigDatabase
from emm_pipeline.defs.runs import MAX_RUNTIME_TAG
from emm_pipeline.errors import OutboxError
from emm_pipeline.opening import open_outbox
from emm_pipeline.settings import Settings, current_settings

if TYPE_CHECKING:
    from emm_pipeline.stores.outbox.folder import Outbox

LOOK_EVERY_S = 30
TRY_AGAIN_EVERY_S = 300
"""Seconds between attempts to send a mail that the server does not accept."""

STORE_IS_AWAY_AFTER = timedelta(minutes=2)
"""Time that points wait before an alert is raised; the run and then the replay try to load them first."""

LINES_PER_MAIL = 1000


@op
def send_mail(context: OpExecutionContext, config_database: ConfigDatabase) -> None:
    """Send the waiting lines as one mail. They are kept if the server does not accept it."""
    settings = current_settings()
    server = MailServer(
        settings.logger_sender_email_host,
        settings.logger_sender_email_port,
        settings.logger_sender_email_address,
        settings.logger_sender_email_password.get_secret_value(),
    )
    try:
        with config_database.open() as engine, claimed_lines(engine, LINES_PER_MAIL) as lines:
            if not lines:
                return
            message = compose(
                settings.logger_sender_email_address,
                settings.logger_receiver_email_address,
                f"{settings.logger_notification_email_subject}: {rules.headline(lines)}",
                "".join(f"{line.text}\n" for line in lines),
            )
            refused = send(server, message)
    except MailError as err:
        raise Failure(f"{err}; tried again in {TRY_AGAIN_EVERY_S // 60} minutes", allow_retries=False) from None
    context.log.info(f"mailed {len(lines)} lines")
    if refused:
        context.log.warning(f"the mail server refused: {', '.join(refused)}")


@job(name="mail", tags={MAX_RUNTIME_TAG: "300"}, description="Mails the alerts that were raised and resolved.")
def mail_job() -> None:
    """One step."""
    send_mail()


@sensor(
    name="mail_sensor",
    job=mail_job,
    minimum_interval_seconds=LOOK_EVERY_S,
    default_status=DefaultSensorStatus.RUNNING,
    description="Raises an alert for a meter that fails for the third time and for a store for which readings wait; "
    "resolves it when they have recovered; starts the job mail.",
)
def mail_sensor(context: SensorEvaluationContext, config_database: ConfigDatabase) -> Iterator[RunRequest | SkipReason]:
    """Compare the present conditions with the reported alerts."""
    _ = context
    now = datetime.now(UTC)
    with config_database.open() as engine:
        conditions = [*meter_conditions(engine), store_condition(open_outbox(current_settings()), now)]
        changes = rules.compare(conditions, raised_alerts(engine))
        if changes:
            last_ok_at = {condition.subject: condition.last_ok_at for condition in conditions if condition.last_ok_at}
            save_changes(engine, changes, rules.lines(changes, last_ok_at, ZoneInfo(current_settings().tz)))
        last = last_waiting_line(engine)
    if last:
        # One run for each new line and for each attempt, since Dagster does not start a second run for the same key.
        yield RunRequest(run_key=f"line {last}, try {int(now.timestamp()) // TRY_AGAIN_EVERY_S}")
    else:
        yield SkipReason("No alert was raised or resolved.")


def store_condition(outbox: "Outbox", now: datetime) -> rules.Condition:
    """Return the condition of the readings store, which fails if points have waited in the outbox for a long time."""
    subject, name = "store", "the readings store"
    try:
        since = outbox.waiting_since()
    except OutboxError as err:
        return rules.Condition(subject, name, rules.FAILURES, now, str(err))
    if since is None:
        return rules.Condition(subject, name, last_ok_at=now)
    reason = f"the readings since then wait in the outbox ({outbox.last_error() or 'loading was not tried yet'})"
    return rules.Condition(subject, name, rules.FAILURES if now - since >= STORE_IS_AWAY_AFTER else 1, since, reason)


def mail_definitions(settings: Settings) -> tuple[list[JobDefinition], list[SensorDefinition]]:
    """Return the job and the sensor; empty lists if EMAIL_NOTIFICATIONS is off."""
    return ([mail_job], [mail_sensor]) if settings.email_notifications else ([], [])
