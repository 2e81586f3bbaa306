"""Whether polling works, for a health check: a few cheap checks that together detect each cause that stops it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import text

from emm_pipeline.condition.probes import (
    SCHEDULE,
    Part,
    dagster_facts,
    look_at_outbox,
    schedule_status,
)
from emm_pipeline.config_db.engine import database_errors
from emm_pipeline.errors import ConfigDatabaseError
from emm_pipeline.opening import open_config_database
from emm_pipeline.status import State, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from emm_pipeline.settings import Settings

POLLS = "polls"
_PATIENCE = timedelta(minutes=10)
"""The least time without a poll that counts as a failure: meters that keep failing are polled every 5 minutes."""

_ATTEMPTS = text("""
    SELECT max(status.polled_at), count(*) FILTER (WHERE status.first_seen_at < :before)
    FROM energy_meters AS meters JOIN meter_status AS status ON status.id = meters.id
    WHERE meters.enabled
""")


def polling_issues(settings: Settings, parts: Sequence[Part], now: datetime) -> list[str]:
    """Return why polling does not work, one line for each reason; nothing if it works.

    A store that is unavailable for a while, and meters that fail, do not count: readings wait, and others are read.

    Args:
        settings: the schedule, the databases and the outbox.
        parts: the parts that the watchdog has checked.
        now: aware.
    """
    failed = [part for part in parts if not part.is_ok]
    if not failed:
        facts = dagster_facts(settings)
        outbox = look_at_outbox(settings, now)
        checked = [Part(SCHEDULE, schedule_status(facts, now)), look_at_polls(settings, now)]
        failed = [part for part in checked if not part.is_ok]
        if outbox.status.state is State.FAILING:
            failed.append(outbox)
    return [f"{part.name}: {part.status.reason}" for part in failed]


def look_at_polls(settings: Settings, now: datetime) -> Part:
    """Check whether any meter was polled within two intervals of the schedule, successfully or not."""
    before = min(settings.poll_trigger.two_intervals_before(now), now - _PATIENCE)
    try:
        with open_config_database(settings) as engine, database_errors(engine), engine.connect() as connection:
            last, meters = connection.execute(_ATTEMPTS, {"before": before}).one()
    except ConfigDatabaseError as err:
        return Part(POLLS, Status(State.FAILING, str(err)))
    if meters and (last is None or last < before):
        since = f"since {last:%Y-%m-%d %H:%M} UTC" if last else "yet"
        to_do = "look at Runs in Dagster's UI, and at the code server's log"
        return Part(POLLS, Status(State.STALE, f"no meter was polled {since}", last, to_do))
    return Part(POLLS, Status(State.OK))
