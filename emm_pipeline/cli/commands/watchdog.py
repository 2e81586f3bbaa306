"""`emm watchdog`: raises alerts when PostgreSQL, Dagster's daemon or the code server has failed."""

from __future__ import annotations

import signal
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click

from emm_pipeline.alerts.channels import channels_of
from emm_pipeline.alerts.rules import FAILURES, Condition, with_advice
from emm_pipeline.alerts.watchdog import WatchdogState
from emm_pipeline.cli.output import note, say
from emm_pipeline.condition.parts import parts_seen_by_the_watchdog
from emm_pipeline.condition.polling import polling_issues
from emm_pipeline.errors import EmmError
from emm_pipeline.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from emm_pipeline.condition.probes import Part

FAILS_AFTER_S = 60.0
"""How long a part is unavailable before an alert is raised: a restart takes less."""


@click.command("watchdog")
@click.option("--interval", type=click.FloatRange(1, 3600), default=20.0, show_default=True, help="Seconds.")
@click.option("--patience", type=click.FloatRange(0, 3600), default=FAILS_AFTER_S, show_default=True, help="Seconds.")
@click.option("--state", type=click.Path(path_type=Path, dir_okay=False), help="File that records the sent alerts.")
@click.pass_obj
def watchdog(env_files: tuple[Path, ...], interval: float, patience: float, state: Path | None) -> None:
    """Watch PostgreSQL, Dagster's daemon and the code server; send an alert when one fails, and when it recovers.

    It sends to the mail address and the ALERT_URLS. Dagster's alert_sensor, which cannot run while one of these three
    is unavailable, reports all other failures. The file also says whether polling works, for a health check: PostgreSQL
    can write, daemon, code server and schedule run, the outbox is not full, and meters are polled. Run the watchdog as
    a separate service; it ends with SIGTERM or Ctrl-C. It also prints each line.

    Example: emm watchdog
    """
    settings = load_settings(*env_files)
    remembered = WatchdogState.load(state or settings.outbox_folder.with_name("watchdog.json"))
    ended = _ended_by_signals()
    first_failed: dict[str, float] = {}
    say(f"watching every {interval:g} s; channels: {', '.join(c.name for c in channels_of(settings)) or 'none'}")
    if settings.mail_issue:
        note(f"warning: {settings.mail_issue}")
    while True:
        try:
            settings = load_settings(*env_files)
            now = datetime.now(UTC)
            parts = parts_seen_by_the_watchdog(settings, now)
            conditions = _conditions(parts, now, first_failed, patience)
            remembered.issues = polling_issues(settings, parts, now)
            channels = channels_of(settings)
            for line in remembered.look(conditions, ZoneInfo(settings.tz), [channel.name for channel in channels]):
                say(line.text)
            remembered.send(channels, settings.logger_notification_email_subject, note)
            remembered.save()  # the file's time shows a health check that the watchdog works
        except EmmError as err:
            note(f"error: {err}")
        if ended.wait(interval):
            return


def _conditions(
    parts: Sequence[Part], now: datetime, first_failed: dict[str, float], patience_s: float
) -> list[Condition]:
    """Return the conditions of the parts. A part that has failed only briefly neither raises nor resolves an alert."""
    conditions = []
    for part in parts:
        if part.is_ok:
            first_failed.pop(part.name, None)
            conditions.append(Condition(part.name, part.name, last_ok_at=now))
            continue
        away_s = time.monotonic() - first_failed.setdefault(part.name, time.monotonic())
        failures = FAILURES if away_s >= patience_s else 1
        since = part.status.since or now
        conditions.append(Condition(part.name, part.name, failures, since, with_advice(part.status)))
    return conditions


def _ended_by_signals() -> threading.Event:
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    return ended
