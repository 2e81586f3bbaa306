"""Compute hours again whose readings came late, or whose gap a reading has closed.

Loading a late batch, and an hour that closes a gap, note the time in `energy_recomputations`. The sensor asks for one
run per contiguous range of hours that have ended, and the run removes the rows. Days and months follow by themselves.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dagster import (
    DagsterInstance,
    DagsterRunStatus,
    DefaultSensorStatus,
    HourlyPartitionsDefinition,
    RunRequest,
    RunsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SkipReason,
    TimeWindow,
    define_asset_job,
    sensor,
)

from emm_pipeline.config_db.device_state.energy_state import (
    LATE,
    Recomputation,
    load_recomputations,
    remove_recomputations,
)
from emm_pipeline.dagster_ext.run_history import IN_FLIGHT
from emm_pipeline.defs.energy import HOURLY
from emm_pipeline.defs.energy_steps import LATE_TAG, ROWS_TAG
from emm_pipeline.defs.runs import ENERGY_JOB, PARTITION_RANGE_TAG
from emm_pipeline.errors import EmmError
from emm_pipeline.opening import open_config_database
from emm_pipeline.settings import current_settings

LOOKS_EVERY_S = 30
PAUSE_AFTER_FAILURE = timedelta(minutes=2)
COMPUTED_WITHIN = timedelta(minutes=3)
"""Time after the end of an hour in which it is computed for the first time."""
_RANGE_END_TAG = "dagster/asset_partition_range_end"

energy_job = define_asset_job(
    ENERGY_JOB, selection=[HOURLY], description="Computes hours again whose readings came late. A sensor starts it."
)


@dataclass(frozen=True, slots=True)
class HoursAgain:
    """Consecutive hours, by partition key, to be computed again, and the rows that this settles."""

    first: str
    last: str
    rows: tuple[int, ...]
    is_late: bool

    def request(self) -> RunRequest:
        """Return the request for one run over all of these hours."""
        tags = {
            PARTITION_RANGE_TAG: self.first,
            _RANGE_END_TAG: self.last,
            ROWS_TAG: " ".join(map(str, self.rows)),
            **({LATE_TAG: "true"} if self.is_late else {}),
        }
        return RunRequest(job_name=ENERGY_JOB, tags=tags)


def build_energy_again_sensor(hours: HourlyPartitionsDefinition) -> SensorDefinition:
    """Return the sensor that looks for noted times."""

    @sensor(
        name="energy_again_sensor",
        job_name=ENERGY_JOB,
        minimum_interval_seconds=LOOKS_EVERY_S,
        default_status=DefaultSensorStatus.RUNNING,
        description="Computes hours again whose readings came late, or whose gap was closed by a reading.",
    )
    def energy_again_sensor(context: SensorEvaluationContext) -> Iterator[RunRequest | SkipReason]:
        try:
            with open_config_database(current_settings()) as engine:
                noted = load_recomputations(engine)
                if not noted:
                    yield SkipReason("No late readings.")
                    return
                if reason := _pauses(context.instance):
                    yield SkipReason(reason)
                    return
                found, unneeded = hours_again(noted, hours, datetime.now(UTC))
                if unneeded:
                    remove_recomputations(engine, unneeded)
        except EmmError as err:
            yield SkipReason(str(err))
            return
        if not found:
            yield SkipReason("The hours of late readings have not ended, or have just ended.")
        for each in found:
            yield each.request()

    return energy_again_sensor


def hours_again(
    noted: Sequence[Recomputation], hours: HourlyPartitionsDefinition, now: datetime
) -> tuple[list[HoursAgain], list[int]]:
    """Return the ranges of hours to compute, and the rows that need no computation: their hours have not ended yet.

    Such hours are computed after their end anyway. A row that touches an hour that has just ended waits for that.
    """
    unneeded: list[int] = []
    first = hours.get_first_partition_window()
    last = hours.get_last_partition_window()
    if first is None or last is None:
        return [], [each.id for each in noted]
    ranges: list[tuple[_Hours, list[Recomputation]]] = []
    for each in sorted(noted, key=lambda row: row.from_time):
        begin, until = max(each.from_time, first.start), min(each.to_time, last.end)
        touched = _touched(hours, begin, until) if begin < until else None
        if touched is None:
            unneeded.append(each.id)
        elif touched.end > now - COMPUTED_WITHIN:
            continue
        elif ranges and touched.begin <= ranges[-1][0].end:
            before, rows = ranges[-1]
            ranges[-1] = (before if before.end >= touched.end else before.until(touched)), [*rows, each]
        else:
            ranges.append((touched, [each]))
    found = [
        HoursAgain(each.first, each.last, tuple(row.id for row in rows), any(row.reason == LATE for row in rows))
        for each, rows in ranges
    ]
    return found, unneeded


@dataclass(frozen=True, slots=True)
class _Hours:
    """Consecutive hours: the keys of the first and the last one, and their beginning and end."""

    first: str
    last: str
    begin: datetime
    end: datetime

    def until(self, other: "_Hours") -> "_Hours":
        """Return the hours from these until the end of others."""
        return _Hours(self.first, other.last, self.begin, other.end)


def _touched(hours: HourlyPartitionsDefinition, begin: datetime, until: datetime) -> _Hours | None:
    """Return the hours that a time touches."""
    hour = timedelta(hours=1)
    keys = hours.get_partition_keys_in_time_window(TimeWindow(begin - hour, until + hour))
    windows = [(key, hours.time_window_for_partition_key(key)) for key in keys]
    touched = [(key, window) for key, window in windows if window.start < until and window.end > begin]
    if not touched:
        return None
    return _Hours(touched[0][0], touched[-1][0], touched[0][1].start, touched[-1][1].end)


def _pauses(instance: DagsterInstance) -> str | None:
    """Return why no run is started now although hours wait; None if one can start."""
    records = instance.get_run_records(RunsFilter(job_name=ENERGY_JOB), limit=1)
    if not records:
        return None
    run, ended = records[0].dagster_run, records[0].end_time
    if instance.get_runs_count(RunsFilter(job_name=ENERGY_JOB, statuses=IN_FLIGHT)):
        return "A run is computing hours again."
    if run.status is DagsterRunStatus.FAILURE and ended:
        again = datetime.fromtimestamp(ended, UTC) + PAUSE_AFTER_FAILURE
        if datetime.now(UTC) < again:
            return f"Run {run.run_id[:8]} failed; the next one starts at {again:%H:%M:%S} UTC."
    return None
