"""The parts on which the pipeline depends: database, Dagster, code server, schedule, store, outbox, clock, MQTT.

Each part is checked separately and within seconds, so that an unavailable one does not hide the others.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from emm_pipeline.condition.dagster_tables import DagsterFacts
from emm_pipeline.condition.meters import MeterCondition, meter_conditions
from emm_pipeline.errors import ConfigDatabaseError
from emm_pipeline.opening import open_config_database
from emm_pipeline.status import State, Status, exit_code

if TYPE_CHECKING:
    from collections.abc import Sequence

    from emm_pipeline.settings import Settings
    from emm_pipeline.status import ExitCode

from emm_pipeline.condition.probes import (
    DAEMON,
    JOBS,
    OUTBOX,
    SCHEDULE,
    Part,
    dagster_facts,
    look_at_alerts,
    look_at_clock,
    look_at_code_server,
    look_at_dagster,
    look_at_database,
    look_at_jobs,
    look_at_mqtt,
    look_at_outbox,
    look_at_store,
    schedule_status,
)

MQTT_IS_AWAY_AFTER = timedelta(minutes=5)
"""How long publishing may fail before an alert is raised: a restart of the broker takes less."""


@dataclass(frozen=True, slots=True)
class PipelineCondition:
    """All parts, in the order in which to correct them, and the meters (None if they are unknown)."""

    parts: Sequence[Part]
    meters: Sequence[MeterCondition] | None
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of `emm status`."""
        states: list[State | None] = [part.status.state for part in self.parts]
        states += [None] if self.meters is None else [meter.status.state for meter in self.meters]
        return exit_code(states)


def pipeline_condition(settings: Settings) -> PipelineCondition:
    """Check every part and every meter. An unavailable part raises no error: its status reports it."""
    now = datetime.now(UTC)
    with ThreadPoolExecutor(max_workers=4) as threads:
        store = threads.submit(look_at_store, settings)
        code_server = threads.submit(look_at_code_server, settings)
        dagster = threads.submit(dagster_facts, settings)
        database = look_at_database(settings)
        facts = dagster.result()
        polling = [*look_at_dagster(facts, now), code_server.result()] if database.is_ok else [code_server.result()]
        stopped = next((part for part in [database, *polling] if not part.is_ok), None)
        meters = _meters(settings, f"{stopped.name}: {stopped.status.reason}" if stopped else None)
        newest = max((each.last_read_at for each in meters or () if each.last_read_at), default=None)
        parts = [
            database,
            *polling,
            *look_at_jobs(facts),
            store.result(),
            look_at_outbox(settings, now),
            look_at_clock(now, newest),
            *look_at_mqtt(settings, now),
            *look_at_alerts(settings),
        ]
    return PipelineCondition(parts, meters, now)


def condition_seen_by_the_page(settings: Settings) -> PipelineCondition:
    """Check every part and every meter, as `pipeline_condition`, except the code server and the store.

    The web page may not reach the code server, which executes code, and has no token with which it could write.
    """
    now = datetime.now(UTC)
    database = look_at_database(settings)
    facts = dagster_facts(settings) if database.is_ok else DagsterFacts(error="PostgreSQL is unavailable")
    polling = look_at_dagster(facts, now) if database.is_ok else []
    stopped = next((part for part in [database, *polling] if not part.is_ok), None)
    meters = _meters(settings, f"{stopped.name}: {stopped.status.reason}" if stopped else None)
    newest = max((each.last_read_at for each in meters or () if each.last_read_at), default=None)
    further = [look_at_outbox(settings, now), look_at_clock(now, newest), *look_at_mqtt(settings, now)]
    return PipelineCondition([database, *polling, *look_at_jobs(facts), *further], meters, now)


def parts_seen_by_the_daemon(settings: Settings, now: datetime) -> list[Part]:
    """Check the parts that can fail while daemon, code server and PostgreSQL work: schedule, jobs, outbox, MQTT."""
    facts = dagster_facts(settings)
    # If `send_alerts` fails, it cannot send an alert about itself.
    names = [f"job {job}" for job in JOBS if job != "send_alerts"]
    jobs = {name: Part(name, Status(State.OK)) for name in names}
    jobs |= {part.name: part for part in look_at_jobs(facts) if part.name in jobs}
    schedule = [] if facts.error else [Part(SCHEDULE, schedule_status(facts, now))]
    outbox = look_at_outbox(settings, now)
    told = outbox if outbox.status.state is State.FAILING else Part(OUTBOX, Status(State.OK))
    mqtt = [part if _lasts(part, now) else Part(part.name, Status(State.OK)) for part in look_at_mqtt(settings, now)]
    return [*schedule, *jobs.values(), told, *mqtt]


def _lasts(part: Part, now: datetime) -> bool:
    return part.status.since is None or now - part.status.since >= MQTT_IS_AWAY_AFTER


def parts_seen_by_the_watchdog(settings: Settings, now: datetime) -> list[Part]:
    """Check the parts without which Dagster's sensors do not run: PostgreSQL, daemon, code server.

    While PostgreSQL is unavailable, the daemon is left out, because its state is unknown.
    """
    database = look_at_database(settings)
    facts = dagster_facts(settings) if database.is_ok else DagsterFacts(error="PostgreSQL is unavailable")
    daemon = [] if facts.error else [part for part in look_at_dagster(facts, now) if part.name == DAEMON]
    return [database, *daemon, look_at_code_server(settings)]


def _meters(settings: Settings, stopped: str | None) -> list[MeterCondition] | None:
    try:
        with open_config_database(settings) as engine:
            return meter_conditions(engine, settings, stopped)
    except ConfigDatabaseError:
        return None
