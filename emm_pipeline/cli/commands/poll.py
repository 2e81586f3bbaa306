"""`emm poll`: read meters now, print what they say, and store it unless told not to."""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import click

from emm_pipeline.cli.progress import progress
from emm_pipeline.cli.showing.tables import print_failed, print_notices, print_readings, records_of
from emm_pipeline.config_db.device_state.meter_status import load_newest_reading
from emm_pipeline.config_db.loader import load_fleet
from emm_pipeline.errors import ConfigurationError
from emm_pipeline.opening import open_config_database, open_delivery
from emm_pipeline.polling import pipeline
from emm_pipeline.polling.clock import clock_issue
from emm_pipeline.polling.plan import plan_meters
from emm_pipeline.polling.results import PollResult, results_of
from emm_pipeline.polling.timing import UNSCHEDULED_READING, SampleTime
from emm_pipeline.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from emm_pipeline.fleet import Fleet

_INTEGER = re.compile(r"-?\d{1,10}", re.ASCII)


@click.command("poll")
@click.argument("meters", nargs=-1, metavar="[METER …]")
@click.option("--dry-run", is_flag=True, help="Read and print only: store nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.pass_obj
def poll(env_files: tuple[Path, ...], meters: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Read meters now and print what they say. METER is an id or a description; without one, all are read.

    The readings are stored too, without --dry-run. Exits with 1 if a meter could not be read or stored.

    Example: emm poll 0 --dry-run
    """
    settings = load_settings(*env_files)
    with open_config_database(settings) as engine:
        fleet = load_fleet(engine)
        plan = plan_meters(fleet, ids_of(fleet, meters))
        if not plan.meters and not plan.unreadable:
            raise ConfigurationError("there are no meters: energy_meters has no enabled row")

        started = datetime.now(UTC)
        sample_time = SampleTime(started, started + UNSCHEDULED_READING)
        limits = pipeline.Limits(settings.max_connections, engine)
        wrong_clock = clock_issue(started, load_newest_reading(engine, [meter.id for meter in plan.meters]))
        with progress(f"reading {len(plan.meters)} meters", len(plan.meters)) as advance:
            meter_readings = pipeline.read(plan, sample_time.deadline, limits, lambda _: advance())
    readings = pipeline.decode(plan, meter_readings)
    decoded = pipeline.Decoded(sample_time, started, meter_readings, readings, wrong_clock)
    if dry_run:
        fleet_result = pipeline.result_of(pipeline.describe(decoded))
    else:
        with progress("storing"), open_delivery(settings) as delivery:
            kept = pipeline.keep(delivery, decoded, f"by-hand-{uuid4()}")
            fleet_result = pipeline.load(delivery, kept)
    results = results_of(plan, [fleet_result])
    failed = [result for result in results if not result.ok]
    if as_json:
        of_the_run = {"store": fleet_result.store_problems, "clock_issue": wrong_clock}
        print(json.dumps(_as_json(readings, results, fleet) | of_the_run, indent=2))
    else:
        _print(readings, results, failed, stored=not dry_run and not fleet_result.store_problems)
        for problem in fleet_result.store_problems:
            print(f"store: {problem}", file=sys.stderr)
    if wrong_clock:
        print(f"clock: {wrong_clock}", file=sys.stderr)
    if failed or fleet_result.store_problems:
        raise SystemExit(1)


def ids_of(fleet: Fleet, names: tuple[str, ...]) -> set[int]:
    """Return the ids of the meters that a person named, by id or description; all of them where none is named.

    Raises:
        ConfigurationError: No enabled meter is described so.
    """
    if not names:
        return {meter.id for meter in fleet.meters} | set(fleet.misconfigured)
    ids: set[int] = set()
    for name in names:
        described = {meter.id for meter in fleet.meters if meter.description == name}
        if _INTEGER.fullmatch(name):
            ids.add(int(name))
        elif described:
            ids |= described
        else:
            raise ConfigurationError(f"no enabled meter has the id or description {name!r}")
    return ids


def _print(readings: pd.DataFrame, results: list[PollResult], failed: list[PollResult], *, stored: bool) -> None:
    if len(readings):
        print_readings(readings)
    if failed:
        print_failed(failed)
    print_notices(results)
    done = "stored" if stored else "not stored"
    print(f"{len(results) - len(failed)} of {len(results)} meters read, {len(readings)} points, {done}")


def _as_json(readings: pd.DataFrame, results: list[PollResult], fleet: Fleet) -> dict[str, Any]:
    rows = [row | {"time": row["time"].isoformat()} for row in records_of(readings)]
    return {
        "readings": rows,
        "failed": [
            {"id": o.id, "description": o.description, "address": o.address, "unit": o.unit_id, "reason": o.reason}
            for o in results
            if not o.ok
        ],
        "findings": [
            *(str(notice) for notice in fleet.issues),
            *(f"meter {o.id} at {o.address} unit {o.unit_id}: {notice}" for o in results for notice in o.notices),
        ],
    }
