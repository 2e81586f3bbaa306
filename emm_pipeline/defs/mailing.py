"""Mail on change of state: a sensor notes what began and what ended, a job mails it. Built where mail is on.

Never part of a poll: a mail server that is slow or away costs no sample. What is noted waits in the database, so that
changes that come together, or while the mail server is away, are one mail.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
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

from emm_pipeline import troubles
from emm_pipeline.config_db.troubles import claimed_lines, last_waiting_line, meter_states, save_news, told_troubles
from emm_pipeline.defs.resources import ConfigDatabase
from emm_pipeline.defs.runs import MAX_RUNTIME_TAG
from emm_pipeline.mail import MailError, MailServer, compose, send
from emm_pipeline.settings import Settings, current_settings

LOOK_EVERY_S = 30
TRY_AGAIN_EVERY_S = 300
"""How often a mail is tried that the server does not take."""

LINES_PER_MAIL = 1000


@op
def send_mail(context: OpExecutionContext, config_database: ConfigDatabase) -> None:
    """Mail the lines that wait, as one mail; they go on waiting if the server does not take it."""
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
                f"{settings.logger_notification_email_subject}: {troubles.headline(lines)}",
                "".join(f"{line.text}\n" for line in lines),
            )
            refused = send(server, message)
    except MailError as err:
        raise Failure(f"{err}; tried again in {TRY_AGAIN_EVERY_S // 60} minutes", allow_retries=False) from None
    context.log.info(f"mailed {len(lines)} lines")
    if refused:
        context.log.warning(f"the mail server refused: {', '.join(refused)}")


@job(name="mail", tags={MAX_RUNTIME_TAG: "300"}, description="Mails what began to fail and what is well again.")
def mail_job() -> None:
    """One step."""
    send_mail()


@sensor(
    name="mail_sensor",
    job=mail_job,
    minimum_interval_seconds=LOOK_EVERY_S,
    default_status=DefaultSensorStatus.RUNNING,
    description="Notes which meters fail for the third time and which are well again, and starts the job mail.",
)
def mail_sensor(context: SensorEvaluationContext, config_database: ConfigDatabase) -> Iterator[RunRequest | SkipReason]:
    """Compare how things are with what people were told."""
    _ = context
    now = datetime.now(UTC)
    with config_database.open() as engine:
        states = meter_states(engine)
        news = troubles.compare(states, told_troubles(engine))
        if news:
            well_at = {state.subject: state.well_at for state in states if state.well_at}
            save_news(engine, news, troubles.lines(news, well_at, ZoneInfo(current_settings().tz)))
        last = last_waiting_line(engine)
    if last:
        # A run per line that is new, and per try; Dagster starts none twice for one key.
        yield RunRequest(run_key=f"line {last}, try {int(now.timestamp()) // TRY_AGAIN_EVERY_S}")
    else:
        yield SkipReason("Nothing began or ended.")


def mail_definitions(settings: Settings) -> tuple[list[JobDefinition], list[SensorDefinition]]:
    """Return the job and the sensor; none where EMAIL_NOTIFICATIONS is off."""
    return ([mail_job], [mail_sensor]) if settings.email_notifications else ([], [])
