"""`emm poll`: read meters now, print their readings, and store them unless --dry-run is given."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import click

from emm_pipeline.cli.meter_names import ids_of
from emm_pipeline.cli.output import json_option, note, print_json, say
from emm_pipeline.cli.progress import progress
from emm_pipeline.cli.showing.readings import print_findings, print_readings, records_of
from emm_pipeline.config_db.device_state.meter_status import load_counters, load_newest_reading
from emm_pipeline.config_db.device_state.register_issues import load_accepted
from emm_pipeline.config_db.loader import load_fleet
from emm_pipeline.config_db.used_ids import record_polled_ids
from emm_pipeline.errors import ConfigDatabaseError, ConfigurationError
from emm_pipeline.opening import open_config_database, open_delivery
from emm_pipeline.polling import pipeline
from emm_pipeline.polling.clock import clock_issue
from emm_pipeline.polling.counters import compare, load
from emm_pipeline.polling.decoded import Decoded, describe
from emm_pipeline.polling.plan import plan_meters
from emm_pipeline.polling.results import PollResult, results_of
from emm_pipeline.polling.timing import UNSCHEDULED_READING, SampleTime
from emm_pipeline.settings import load_settings
from emm_pipeline.status import State, decide_read

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from sqlalchemy import Engine

    from emm_pipeline.fleet import Fleet
    from emm_pipeline.polling.results import FleetReading
    from emm_pipeline.status import RegisterIssue
    from emm_pipeline.stores.outbox.folder import Outbox


@click.command("poll")
@click.argument("meters", nargs=-1, metavar="[METER …]")
@click.option("--dry-run", is_flag=True, help="Only read and print; store nothing.")
@json_option
@click.pass_obj
def poll(env_files: tuple[Path, ...], meters: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Read meters now, print their readings and store them. METER is an id or a description; default: all meters.

    Exits with 1 if a meter could not be read, or its readings could not be stored.

    Example: emm poll 0 --dry-run
    """
    settings = load_settings(*env_files)
    with open_config_database(settings) as engine:
        fleet = load_fleet(engine)
        plan = plan_meters(fleet, ids_of(engine, meters) if meters else fleet.ids)
        if not plan.meters and not plan.unreadable:
            raise ConfigurationError("there are no meters: energy_meters has no enabled row")

        if not dry_run:
            _record_ids(engine, {meter.id for meter in plan.meters})
        started = datetime.now(UTC)
        sample_time = SampleTime(started, started + UNSCHEDULED_READING)
        limits = pipeline.Limits(settings.max_connections, engine)
        ids = [meter.id for meter in plan.meters]
        accepted = load_accepted(engine, ids)
        counters_before = {id_: load(text) for id_, text in load_counters(engine, ids).items()}
        wrong_clock = clock_issue(started, load_newest_reading(engine, ids))
        with progress(f"reading {len(plan.meters)} meters", len(plan.meters)) as advance:
            meter_readings = pipeline.read(plan, sample_time.deadline, limits, lambda _: advance())
    readings, notices = pipeline.decode(plan, meter_readings)
    counters = compare(meter_readings, readings, plan.types, counters_before, started)
    context = wrong_clock, accepted, notices, counters
    decoded = Decoded(sample_time, started, meter_readings, readings, plan.types, *context)
    if dry_run:
        fleet_result = pipeline.result_of(describe(decoded))
        whereabouts = "not stored"
    else:
        with progress("storing"), open_delivery(settings) as delivery:
            kept = pipeline.keep(delivery, decoded, f"by-hand-{uuid4()}")
            fleet_result = pipeline.load(delivery, kept)
            whereabouts = _whereabouts(kept, delivery.outbox)
    results = results_of(plan, [fleet_result])
    failed = [result for result in results if not result.ok]
    if as_json:
        of_the_run = {"store": fleet_result.store_problems, "clock_issue": wrong_clock}
        print_json(_as_json(readings, results, fleet) | of_the_run)
    else:
        _print(readings, results, whereabouts)
        for problem in fleet_result.store_problems:
            note(f"store: {problem}")
    if wrong_clock:
        note(f"clock: {wrong_clock}")
    if failed or fleet_result.store_problems:
        raise SystemExit(1)


def _record_ids(engine: Engine, ids: set[int]) -> None:
    """Record the ids as used, so that no other meter gets one of them. An error here does not fail the poll."""
    try:
        record_polled_ids(engine, ids)
    except ConfigDatabaseError as err:
        note(f"the ids of these meters could not be recorded as used: {err}")


def _whereabouts(kept: FleetReading, outbox: Outbox) -> str:
    """Say where the points are now. The store may have accepted them even if the outbox had an error."""
    if kept.loaded and kept.loaded.lost:
        return "not stored: lost"
    if kept.batch and kept.batch in outbox.names():
        return "not stored yet: waiting in the outbox"
    return "stored"


def _print(readings: pd.DataFrame, results: list[PollResult], whereabouts: str) -> None:
    failed = [result for result in results if not result.ok]
    if len(readings):
        print_readings(readings)
    print_findings(results)
    say(f"{len(results) - len(failed)} of {len(results)} meters read, {len(readings)} points, {whereabouts}")


def _as_json(readings: pd.DataFrame, results: list[PollResult], fleet: Fleet) -> dict[str, Any]:
    return {
        "readings": records_of(readings),
        "failed": [
            {"id": o.id, "description": o.description, "address": o.address, "unit": o.unit_id, "reason": o.reason}
            for o in results
            if not o.ok
        ],
        "meters": [
            {"id": each.id, "status": _status(each), "registers": [_issue_as_json(issue) for issue in each.issues]}
            for each in results
        ],
        "findings": [
            *(str(notice) for notice in fleet.issues),
            *(f"meter {o.id} at {o.address} unit {o.unit_id}: {notice}" for o in results for notice in o.notices),
        ],
    }


def _status(result: PollResult) -> State:
    """Return a meter's status as this poll alone shows it."""
    if result.unread:
        return State.ASLEEP if result.asleep else State.FAILING if result.address else State.MISCONFIGURED
    return State.FAILING if result.reason else decide_read(result.issues).state


def _issue_as_json(issue: RegisterIssue) -> dict[str, str]:
    return {"measurement": issue.measurement, "issue": issue.kind.value, "reason": issue.reason}
