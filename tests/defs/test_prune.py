"""Retention: the prune job deletes old runs, and Dagster still shows each meter's status."""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from dagster import DagsterRunStatus
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value
from dagster._core.test_utils import create_run_for_test
from sqlalchemy import text
from support.meters import SimulatedUnit
from support.ports import free_port

from emm_pipeline.dagster_ext import run_history
from emm_pipeline.defs.partitions import METER_READINGS, METERS
from emm_pipeline.defs.prune import TIME_LIMIT

OLD = timedelta(hours=100)
"""A time older than the 72 hours for which history is kept by default."""


@pytest.fixture
def two_meters(pipeline, simulated_gateway):
    """Meter 1 replies, 2 is a closed port."""
    pipeline.add_meter(1, simulated_gateway({1: SimulatedUnit({(4, address): 0 for address in range(80)})}).port)
    pipeline.add_meter(2, free_port())
    assert pipeline.run("discovery").success
    return pipeline


def storage_of(pipeline) -> Path:
    return Path(pipeline.instance.storage_directory())


def dagsters(pipeline, statement, **values):
    with pipeline.instance.event_log_storage.index_connection() as connection:
        result = connection.execute(text(statement), values)
        return result.all() if result.returns_rows else []


def age(pipeline, by: timedelta = OLD) -> None:
    """Make every run and its files older by this time."""
    dagsters(pipeline, "UPDATE runs SET update_timestamp = update_timestamp - :by", by=by)
    for path in storage_of(pipeline).rglob("*"):
        then = path.stat().st_mtime - by.total_seconds()
        os.utime(path, (then, then))


def prune_runs(pipeline, older_than: timedelta, time_limit: timedelta = TIME_LIMIT) -> run_history.Pruned:
    before = datetime.now(UTC) - older_than
    return run_history.prune_runs(
        pipeline.instance, before, time_limit, asset=METER_READINGS, partitions=str(METERS.name)
    )


def run_ids(pipeline) -> set[str]:
    return set(pipeline.instance.get_run_ids())


def shown(pipeline, *, counted_again: bool) -> dict[str, set[str]]:
    """Return the counts on the asset's page. Dagster caches them, and counts again if a partition was added."""
    if counted_again:
        pipeline.instance.wipe_asset_cached_status([METER_READINGS])
    count = get_and_update_asset_status_cache_value(pipeline.instance, METER_READINGS, METERS)
    with_keys = {
        "materialized": count.deserialize_materialized_partition_subsets(METERS),
        "failed": count.deserialize_failed_partition_subsets(METERS),
    }
    return {status: set(subset.get_partition_keys()) for status, subset in with_keys.items()}


def test_old_runs_go_with_their_events_tags_and_files_and_young_ones_stay(two_meters):
    old = [two_meters.run("poll").run_id for _ in range(3)]
    age(two_meters)
    young = two_meters.run("poll").run_id
    assert two_meters.run("prune").success
    assert young in run_ids(two_meters)
    assert not set(old) & run_ids(two_meters)
    for table in ("event_logs", "run_tags"):
        assert dagsters(two_meters, f"SELECT count(*) FROM {table} WHERE run_id = ANY(:old)", old=old) == [(0,)]
    left = "SELECT count(*) FROM asset_event_tags WHERE event_id NOT IN (SELECT id FROM event_logs)"
    assert dagsters(two_meters, left) == [(0,)]
    assert young in {path.name for path in storage_of(two_meters).iterdir()}
    assert not set(old) & {path.name for path in storage_of(two_meters).iterdir()}


@pytest.mark.parametrize("counted_again", [True, False], ids=["counted again", "from Dagster's own count"])
def test_a_meters_status_outlives_the_retention_however_old_the_run_that_stated_it(two_meters, counted_again):
    stated = two_meters.run("poll").run_id
    before = {"materialized": {"1"}, "failed": {"2"}}
    assert shown(two_meters, counted_again=counted_again) == before
    age(two_meters)
    assert two_meters.run("prune").success
    assert stated in run_ids(two_meters)
    assert shown(two_meters, counted_again=counted_again) == before


def test_a_kept_run_can_still_be_read_and_re_executed(two_meters):
    stated = two_meters.run("poll").run_id
    files = {path for path in (storage_of(two_meters) / stated).rglob("*") if path.is_file()}
    events = len(two_meters.instance.all_logs(stated))
    age(two_meters)
    two_meters.run("prune")
    assert len(two_meters.instance.all_logs(stated)) == events
    assert all(path.exists() for path in files)


def test_for_a_meter_that_failed_after_its_last_reading_exactly_two_runs_are_kept(two_meters):
    first = two_meters.run("poll").run_id
    second = two_meters.run("poll").run_id
    two_meters.sql(f"UPDATE energy_meters SET port = {free_port()} WHERE id = 1")
    failed = two_meters.run("poll").run_id
    age(two_meters)
    two_meters.run("prune")
    assert {second, failed} <= run_ids(two_meters)
    assert first not in run_ids(two_meters)
    assert shown(two_meters, counted_again=True)["failed"] == {"1", "2"}


def test_a_failure_that_a_later_reading_cleared_keeps_no_run(two_meters, simulated_gateway):
    failed = two_meters.run("poll").run_id
    port = simulated_gateway({1: SimulatedUnit({(4, address): 0 for address in range(80)})}).port
    two_meters.sql("UPDATE energy_meters SET port = :port WHERE id = 2", port=port)
    assert two_meters.run("poll").success
    age(two_meters)
    two_meters.run("prune")
    assert failed not in run_ids(two_meters)
    assert shown(two_meters, counted_again=True) == {"materialized": {"1", "2"}, "failed": set()}


def test_a_removed_meter_keeps_no_run(two_meters):
    two_meters.sql("DELETE FROM energy_meters WHERE id = 2")
    gone = two_meters.run("poll", partition_key="2").run_id
    two_meters.run("discovery")
    age(two_meters)
    two_meters.run("prune")
    assert gone not in run_ids(two_meters)


def test_a_run_in_progress_is_never_deleted_however_old(pipeline):
    run = create_run_for_test(pipeline.instance, job_name="poll", status=DagsterRunStatus.STARTED)
    age(pipeline)
    pipeline.run("prune")
    assert run.run_id in run_ids(pipeline)


def test_an_old_run_that_was_never_launched_is_deleted(pipeline):
    run = create_run_for_test(pipeline.instance, job_name="poll", status=DagsterRunStatus.NOT_STARTED)
    pipeline.run("prune")
    assert run.run_id in run_ids(pipeline)
    age(pipeline)
    pipeline.run("prune")
    assert run.run_id not in run_ids(pipeline)


def test_the_age_of_a_run_is_counted_from_its_end(two_meters):
    ended = two_meters.run("poll").run_id
    dagsters(two_meters, "UPDATE runs SET create_timestamp = create_timestamp - :by", by=OLD)
    two_meters.run("poll")
    two_meters.run("prune")
    assert ended in run_ids(two_meters)


@pytest.mark.parametrize("done", [1, 2])
def test_a_prune_killed_half_way_is_finished_by_the_next(two_meters, monkeypatch, done):
    old = [two_meters.run("poll").run_id for _ in range(3)]
    two_meters.run("poll")
    age(two_meters)
    with monkeypatch.context() as patch:
        patch.setattr(run_history, "_DELETE_RUNS", run_history._DELETE_RUNS[:done])
        two_meters.run("prune")
    assert set(old) <= run_ids(two_meters)
    two_meters.run("prune")
    assert dagsters(two_meters, "SELECT count(*) FROM event_logs WHERE run_id = ANY(:old)", old=old) == [(0,)]
    assert not set(old) & (run_ids(two_meters) | {path.name for path in storage_of(two_meters).iterdir()})


def test_runs_beyond_the_time_limit_are_left_and_the_oldest_are_deleted_first(two_meters, monkeypatch):
    old = [two_meters.run("poll").run_id for _ in range(3)]
    two_meters.run("poll")
    discovery = two_meters.instance.get_run_ids()[-1]
    before = run_ids(two_meters)
    monkeypatch.setattr(run_history, "_RUNS_AT_ONCE", 2)
    with monkeypatch.context() as patch:
        patch.setattr(run_history, "time", Clock(0, 1, 100))
        pruned = prune_runs(two_meters, timedelta(0), timedelta(seconds=50))
    assert (pruned.deleted, pruned.kept, pruned.left) == (2, 1, 2)
    assert before - run_ids(two_meters) == {discovery, old[0]}


class Clock:
    def __init__(self, *times: float) -> None:
        self._times = iter(times)

    def monotonic(self) -> float:
        return next(self._times)


def test_old_logs_of_ticks_are_deleted_and_other_files_stay(pipeline):
    folder = storage_of(pipeline) / "__repository__" / "poll_schedule"
    folder.mkdir(parents=True)
    for name in ("20260101_000000.err", "notes.txt"):
        (folder / name).write_text("x")
    age(pipeline)
    (folder / "20260105_000000.err").write_text("young")
    pipeline.run("prune")
    assert {path.name for path in folder.iterdir()} == {"20260105_000000.err", "notes.txt"}


def test_old_files_of_a_run_that_was_deleted_in_the_ui_are_deleted(two_meters):
    deleted = two_meters.run("poll").run_id
    two_meters.instance.delete_run(deleted)
    two_meters.run("prune")
    assert (storage_of(two_meters) / deleted).exists()
    age(two_meters)
    two_meters.run("prune")
    assert not (storage_of(two_meters) / deleted).exists()


def test_the_run_says_what_it_deleted_and_kept(two_meters):
    for _ in range(2):
        two_meters.run("poll")
    age(two_meters)
    counts = two_meters.run("prune").output_for_node("delete_old_runs")
    assert counts["runs deleted"] == 2, "a poll and the discovery"
    assert counts["runs kept for a meter's status"] == 1
    assert counts["runs left for the next time"] == 0


def test_a_day_of_runs_is_pruned_in_batches(pipeline):
    """1440 runs of 100 meters, copied from the rows of one real run."""
    pipeline.instance.add_dynamic_partitions(str(METERS.name), [str(id_) for id_ in range(100)])
    run = create_run_for_test(pipeline.instance, job_name="poll", status=DagsterRunStatus.SUCCESS)
    dagsters(
        pipeline,
        """
        INSERT INTO runs (run_id, snapshot_id, pipeline_name, status, run_body, create_timestamp, update_timestamp)
        SELECT gen_random_uuid()::text, snapshot_id, pipeline_name, status, run_body, now(), now() - interval '1 year'
        FROM runs, generate_series(1, 1440) WHERE run_id = :id
        """,
        id=run.run_id,
    )
    dagsters(
        pipeline,
        """
        INSERT INTO event_logs (run_id, event, dagster_event_type, timestamp, asset_key, partition)
        SELECT run_id, repeat('x', 1600), 'ASSET_MATERIALIZATION', now(), '["meter_readings"]', n::text
        FROM runs, generate_series(0, 99) AS n
        ORDER BY runs.id
        """,
    )
    began = time.monotonic()
    pruned = prune_runs(pipeline, OLD)
    print(f"{pruned.deleted} runs deleted in {time.monotonic() - began:.1f} s")  # 0.5 s on two idle cores
    assert pruned.deleted == 1439
    assert pruned.kept == 1
