"""Runs in progress: find polls that delay a tick, and runs that refer to a partition to be deleted."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol, runtime_checkable

from dagster import AssetKey, DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter

from emm_pipeline.dagster_ext.internals import BulkActionsFilter, BulkActionStatus
from emm_pipeline.dagster_ext.run_history import IN_FLIGHT
from emm_pipeline.polling.sharding import Shard
from emm_pipeline.polling.timing import Window

# Dagster shows no tags that begin with `.dagster/`; it filters by them, and re-execution copies them. A name with a
# second slash would be deprecated: a warning at each run.
KIND_TAG = ".dagster/emm.kind"
SCHEDULED_POLL = "scheduled poll"
SHARD_TAG = ".dagster/emm.shard"
TICK_TAG = ".dagster/emm.tick"
UNTIL_TAG = ".dagster/emm.until"
MAX_RUNTIME_TAG = "dagster/max_runtime"
PRIORITY_TAG = "dagster/priority"
PARTITION_TAG = "dagster/partition"
ENERGY_JOB = "energy_again"
ASSET_RESUME_TAG = "dagster/is_asset_resume_retry"
PARTITION_RANGE_TAG = "dagster/asset_partition_range_start"

ACTIVE_BACKFILLS = [BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING, BulkActionStatus.FAILING]


@dataclass(frozen=True, slots=True)
class ScheduledPoll:
    """A poll that the schedule started: its shard, and its tick's window."""

    shard: Shard
    window: Window
    run_id: str = ""

    def tags(self) -> dict[str, str]:
        """Return the run tags that `of_run` reads."""
        return {
            KIND_TAG: SCHEDULED_POLL,
            SHARD_TAG: str(self.shard),
            TICK_TAG: self.window.tick.isoformat(),
            UNTIL_TAG: self.window.until.isoformat(),
        }

    @classmethod
    def of_run(cls, run: DagsterRun) -> "ScheduledPoll | None":
        """Read the run's tags; None for a run that was started by hand.

        A re-executed run has its parent's tags: the same shard, and a window that has passed.
        """
        if run.tags.get(KIND_TAG) != SCHEDULED_POLL:
            return None
        window = Window(datetime.fromisoformat(run.tags[TICK_TAG]), datetime.fromisoformat(run.tags[UNTIL_TAG]))
        return cls(Shard.parse(run.tags[SHARD_TAG]), window, run.run_id)

    def holds_up(self, shard: Shard, tick: datetime, interval: timedelta) -> bool:
        """Whether this poll, which is still in progress, prevents `tick` from polling `shard`.

        The poll of the previous tick does not: it has read its meters by then and is reporting results, and gateways
        are locked while they are read. A poll that is older than two intervals does not either, whether it is queued or
        dead.
        """
        tick = tick.astimezone(UTC)
        return self.shard.overlaps(shard) and tick - 2 * interval <= self.window.tick < tick - interval


def scheduled_polls_in_flight(instance: DagsterInstance) -> list[ScheduledPoll]:
    """Return the schedule's runs that are queued, starting or in progress, without re-executed ones."""
    filters = RunsFilter(statuses=IN_FLIGHT, tags={KIND_TAG: SCHEDULED_POLL})
    runs = (record.dagster_run for record in instance.get_run_records(filters))
    polls = (ScheduledPoll.of_run(run) for run in runs if not run.parent_run_id)
    return [poll for poll in polls if poll]


@runtime_checkable
class KnowsLostRuns(Protocol):
    """A run launcher that can tell which runs have lost their process."""

    def lost(self, run_ids: Collection[str]) -> set[str]:
        """Return the runs that, as far as the launcher knows, no process executes."""


def without_lost(instance: DagsterInstance, polls: Sequence[ScheduledPoll], now: datetime) -> list[ScheduledPoll]:
    """Return the polls without overdue ones whose worker does not answer and which run monitoring has not failed yet.

    If such a run is in progress after all, no meter is read twice at once, because gateways are locked while they are
    read.
    """
    launcher = instance.run_launcher
    overdue = [poll.run_id for poll in polls if poll.window.is_overdue(now)]
    if not overdue or not isinstance(launcher, KnowsLostRuns):
        return list(polls)
    handed_on = RunsFilter(run_ids=overdue, statuses=[DagsterRunStatus.STARTING, DagsterRunStatus.STARTED])
    run_ids = instance.get_run_ids(handed_on)
    lost = launcher.lost(run_ids) if run_ids else set()
    return [poll for poll in polls if poll.run_id not in lost]


def resumes_failed_run(run: DagsterRun) -> bool:
    """Whether the run was started by "re-execute from failure" (of its steps, or of its asset)."""
    return bool(run.parent_run_id and (run.step_keys_to_execute or run.tags.get(ASSET_RESUME_TAG)))


def partitions_in_flight(instance: DagsterInstance, asset: AssetKey, partitions: Iterable[str]) -> set[str]:
    """Return the partitions to which a run in progress may refer.

    A run over a range, and a backfill that is still creating its runs, may refer to any partition. A scheduled poll
    refers to none, because it takes its meters from the database.
    """
    partitions = set(partitions)
    if not partitions:
        return set()
    backfills = instance.get_backfills(filters=BulkActionsFilter(statuses=ACTIVE_BACKFILLS))
    if any(each.asset_selection is None or asset in each.asset_selection for each in backfills):
        return partitions
    named: set[str] = set()
    for record in instance.get_run_records(RunsFilter(statuses=IN_FLIGHT)):
        run = record.dagster_run
        if run.job_name == ENERGY_JOB or (run.asset_selection and asset not in run.asset_selection):
            continue
        if PARTITION_RANGE_TAG in run.tags:
            return partitions
        named.add(run.tags.get(PARTITION_TAG, ""))
    return partitions & named
