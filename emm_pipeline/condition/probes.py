"""Checks of the parts of the pipeline, each separately and within seconds."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import text

from emm_pipeline.condition.code_server import code_server_issue
from emm_pipeline.condition.dagster_tables import DagsterFacts, load_dagster_facts
from emm_pipeline.condition.meters import STORE_IS_AWAY_AFTER
from emm_pipeline.config_db.engine import create_config_engine, database_errors
from emm_pipeline.errors import ConfigDatabaseError, EmmError
from emm_pipeline.mqtt.state import publishing, read_state
from emm_pipeline.opening import follow_rotation, open_config_database, open_outbox, open_readings_store
from emm_pipeline.polling.clock import clock_issue
from emm_pipeline.settings import current_settings
from emm_pipeline.status import State, Status
from emm_pipeline.stores.outbox.copies import FOLDERS, BatchCopies

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine

    from emm_pipeline.settings import Settings

DATABASE, DAEMON, CODE_SERVER, SCHEDULE = "PostgreSQL", "Dagster's daemon", "code server", "polling"
STORE, OUTBOX, CLOCK, MQTT, ALERTS = "readings store", "outbox", "clock", "MQTT", "alerts"
JOBS = ("discovery", "prune", "replay", "send_alerts")
"""Jobs whose last run must not have failed. The status of the meters shows failures of the job `poll`."""

HEARTBEAT_LASTS = timedelta(seconds=90)
"""Dagster's daemon writes a heartbeat every 30 s."""
QUEUE_LASTS = timedelta(minutes=3)
"""How long a scheduled run may wait in the queue."""
FULL = 0.95
"""The fraction of OUTBOX_MAX_MB at which the outbox counts as full: it then deletes the oldest readings."""

_ROOM = "bring the store back, or raise OUTBOX_MAX_MB"

_WRITE_PROBE = text(
    "CREATE TEMPORARY TABLE emm_write_probe ON COMMIT DROP AS SELECT md5(n::text) FROM generate_series(1, 2000) AS n"
)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the pipeline and its status."""

    name: str
    status: Status

    @property
    def is_ok(self) -> bool:
        """Whether there is nothing to report."""
        return self.status.state is State.OK


def look_at_database(settings: Settings) -> Part:
    """Check whether PostgreSQL answers, has EMM's tables, and can write."""
    try:
        with open_config_database(settings) as engine:
            with database_errors(engine), engine.begin() as connection:
                connection.execute(text("SELECT FROM energy_meters LIMIT 0"))
            require_writable(engine)
    except ConfigDatabaseError as err:
        return Part(DATABASE, Status(State.FAILING, str(err), what_to_do=_advice(str(err))))
    return Part(DATABASE, Status(State.OK))


def require_writable(engine: Engine) -> None:
    """Write a few pages of a temporary table, which is dropped at once.

    Raises:
        ConfigDatabaseError: PostgreSQL could not write them, for example because its disk is full.
    """
    with database_errors(engine), engine.begin() as connection:
        connection.execute(_WRITE_PROBE)


def _advice(reason: str) -> str:
    if "No space left" in reason or "could not extend" in reason:
        return "make room on PostgreSQL's disk: while it cannot write, EMM neither polls nor saves a status"
    return "start PostgreSQL, or correct POSTGRES_* (emm settings)"


def dagster_facts(settings: Settings) -> DagsterFacts:
    """Read the content of Dagster's database; `error` says why it cannot be read."""
    engine = create_config_engine(settings.dagster_database_url)
    if settings.emm_access_dir:
        follow_rotation(engine, lambda: current_settings().dagster_database_url)
    try:
        return load_dagster_facts(engine)
    except ConfigDatabaseError as err:
        return DagsterFacts(error=str(err))
    finally:
        engine.dispose()


def look_at_dagster(facts: DagsterFacts, now: datetime) -> list[Part]:
    """Check the daemon and the schedule of the poll."""
    if facts.error:
        return [Part(DAEMON, Status(State.FAILING, f"Dagster's database: {facts.error}", what_to_do="emm db upgrade"))]
    beat = facts.heartbeat_at
    daemon = Status(State.OK)
    if beat is None or now - beat > HEARTBEAT_LASTS:
        reason = "it does not run: " + ("it was never started" if beat is None else "its last heartbeat is old")
        daemon = Status(State.STALE, reason, beat, "start it: docker compose up -d daemon, or emm daemon")
    return [Part(DAEMON, daemon), Part(SCHEDULE, schedule_status(facts, now))]


def schedule_status(facts: DagsterFacts, now: datetime) -> Status:
    """Return the status of polling, from the schedule and the queue."""
    if facts.schedule_stopped_at:
        to_do = "switch poll_schedule on: Dagster's UI, Automation"
        return Status(State.STALE, "poll_schedule is switched off", facts.schedule_stopped_at, to_do)
    if facts.queued_since and now - facts.queued_since > QUEUE_LASTS:
        to_do = "look at Runs, Queued in Dagster's UI, and at the log of Dagster's daemon"
        return Status(State.STALE, "runs wait in the queue and are not started", facts.queued_since, to_do)
    if facts.tick_error:
        return Status(
            State.STALE, f"poll_schedule fails: {facts.tick_error}", what_to_do="look at the code server's log"
        )
    return Status(State.OK)


def look_at_code_server(settings: Settings) -> Part:
    """Check the code server."""
    issue = code_server_issue(settings.emm_code_server_host, settings.emm_code_server_port)
    to_do = "start it: docker compose up -d code, or emm code-server"
    return Part(CODE_SERVER, Status(State.STALE, issue, what_to_do=to_do) if issue else Status(State.OK))


def look_at_jobs(facts: DagsterFacts) -> list[Part]:
    """Return the jobs whose last run failed."""
    return [
        Part(
            f"job {job}",
            Status(
                State.DEGRADED,
                f"its last run failed ({run.run_id[:8]})",
                run.ended_at,
                f"read the run in Dagster's UI: /runs/{run.run_id}",
            ),
        )
        for job, run in facts.failed_jobs.items()
        if job in JOBS
    ]


def look_at_store(settings: Settings) -> Part:
    """Check whether the readings store would accept points now."""
    try:
        with open_readings_store(settings) as store:
            store.ping()
    except EmmError as err:
        return Part(
            STORE, Status(State.WAITING, str(err), what_to_do="start it, or correct its settings (emm settings)")
        )
    return Part(STORE, Status(State.OK))


def look_at_outbox(settings: Settings, now: datetime) -> Part:
    """Check whether the outbox can be used, is full, or contains points that wait or were rejected."""
    outbox = open_outbox(settings)
    try:
        since, used, rejected = outbox.waiting_since(), _size(outbox.folder), len(outbox.rejected())
    except EmmError as err:
        to_do = f"make {settings.outbox_folder} a folder that EMM may write"
        return Part(OUTBOX, Status(State.FAILING, str(err), what_to_do=to_do))
    limit = settings.outbox_max_mb * 1_000_000
    if used >= FULL * limit:
        held = f"it holds {used / 1e6:.0f} of {settings.outbox_max_mb} MB (OUTBOX_MAX_MB)"
        return Part(OUTBOX, Status(State.FAILING, f"{held}: the oldest readings are lost", since, _ROOM))
    if since and now - since >= STORE_IS_AWAY_AFTER:
        reason = f"points wait for the store ({outbox.last_error() or 'no attempt to load them is known'})"
        return Part(OUTBOX, Status(State.WAITING, reason, since, "bring the store back; EMM then loads them itself"))
    if rejected:
        reason = f"the store rejected points: {rejected} files in {outbox.rejected_folder}"
        return Part(OUTBOX, Status(State.DEGRADED, reason, what_to_do="read why: emm outbox"))
    return Part(OUTBOX, Status(State.OK))


def _size(folder: Path) -> int:
    """Return the size of the files in a folder, in bytes, without those that are deleted in the meantime.

    The copies for `emm mqtt` and the web page are not counted: they are second names of batches.
    """
    size = 0
    for path in folder.rglob("*"):
        if path.parent.name not in FOLDERS:
            with suppress(OSError):
                size += path.stat().st_size
    return size


def look_at_mqtt(settings: Settings, now: datetime) -> list[Part]:
    """Check whether `emm mqtt` publishes values; nothing if MQTT_URL is empty."""
    status = publishing(read_state(BatchCopies(settings.outbox_folder).folder), settings.mqtt_url, now)
    return [Part(MQTT, status)] if status else []


def look_at_alerts(settings: Settings) -> list[Part]:
    """Return an entry if alerts by mail are on and cannot be sent; otherwise nothing."""
    issue = settings.mail_issue
    return [Part(ALERTS, Status(State.DEGRADED, issue, what_to_do="edit config/.env"))] if issue else []


def look_at_clock(now: datetime, newest_reading: datetime | None) -> Part:
    """Check the clock of this computer."""
    issue = clock_issue(now, newest_reading)
    to_do = "set the clock of this computer"
    return Part(CLOCK, Status(State.DEGRADED, issue, what_to_do=to_do) if issue else Status(State.OK))
