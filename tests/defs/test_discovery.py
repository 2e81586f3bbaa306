"""Discovery: partitions follow the database, and issues are reported by name."""

from datetime import UTC

import pytest
from dagster import DagsterEventType, DagsterRunStatus
from dagster._core.execution.backfill import PartitionBackfill
from support.meters import SimulatedUnit
from support.ports import free_port

from emm_pipeline.dagster_ext.internals import BulkActionStatus
from emm_pipeline.definitions import build_definitions
from emm_pipeline.defs.partitions import METER_READINGS, partition_changes
from emm_pipeline.defs.runs import TICK_TAG, partitions_in_flight
from emm_pipeline.settings import current_settings


def report(pipeline):
    """Run the discovery; return the metadata of its step."""
    result = pipeline.run("discovery")
    assert result.success
    (output,) = [e for e in pipeline.events(result, DagsterEventType.STEP_OUTPUT) if e.step_key == "discover"]
    metadata = output.event_specific_data.metadata
    return {name: getattr(value, "records", getattr(value, "value", value)) for name, value in metadata.items()}


def ids(records):
    return [record.data["id"] for record in records]


def test_added_removed_and_changed_meters_are_reported_and_partitions_follow(pipeline, simulated_gateway):
    port = simulated_gateway({1: SimulatedUnit()}).port
    pipeline.add_meter(1, port)
    pipeline.add_meter(10, port)
    found = report(pipeline)
    assert ids(found["added"]) == [1, 10]
    assert pipeline.partitions() == {"1", "10"}

    pipeline.sql("UPDATE energy_meters SET description = 'boiler' WHERE id = 1")
    pipeline.sql("DELETE FROM energy_meters WHERE id = 10")
    found = report(pipeline)
    assert ids(found["added"]) == []
    assert ids(found["changed"]) == [1]
    assert found["removed"] == "10"
    assert pipeline.partitions() == {"1"}

    found = report(pipeline)
    assert (found["meters"], ids(found["changed"]), found["removed"]) == (1, [], "none")


def test_a_new_meter_that_cannot_be_reached_is_reported_at_once_and_only_once(pipeline):
    closed = free_port()
    pipeline.add_meter(1, closed)
    (record,) = report(pipeline)["unreachable"]
    assert record.data["host:port"] == f"127.0.0.1:{closed}"
    assert record.data["reason"] == "connection refused"
    assert not report(pipeline)["unreachable"], "from now on polls report it"


def test_a_changed_register_is_a_change_of_every_meter_of_the_type(pipeline, simulated_gateway):
    port = simulated_gateway({1: SimulatedUnit()}).port
    pipeline.add_meter(1, port)
    pipeline.add_meter(2, port)
    report(pipeline)
    pipeline.sql("UPDATE registers SET scale = 0.1 WHERE register_address = 0")
    assert ids(report(pipeline)["changed"]) == [1, 2]


def test_a_meter_without_registers_is_misconfigured_keeps_a_partition_and_does_not_affect_others(
    pipeline, simulated_gateway
):
    pipeline.add_meter(1, simulated_gateway({1: SimulatedUnit()}).port)
    pipeline.sql("INSERT INTO energy_meters VALUES (2, '127.0.0.1', 502, 1, 'no such type', 'odd one')")
    found = report(pipeline)
    assert any("2" in str(record.data["row"]) for record in found["misconfigured"])
    assert pipeline.partitions() == {"1", "2"}


def test_a_disabled_meter_loses_its_partition(pipeline, simulated_gateway):
    pipeline.add_meter(1, simulated_gateway({1: SimulatedUnit()}).port)
    report(pipeline)
    pipeline.sql("UPDATE energy_meters SET enabled = false")
    assert report(pipeline)["removed"] == "1"
    assert pipeline.partitions() == set()


def test_a_partition_of_a_run_in_progress_is_deleted_by_a_later_discovery(pipeline, simulated_gateway):
    pipeline.add_meter(1, simulated_gateway({1: SimulatedUnit()}).port)
    pipeline.add_meter(2, simulated_gateway({1: SimulatedUnit()}).port)
    report(pipeline)
    job = build_definitions(current_settings()).resolve_job_def("poll")
    run = pipeline.instance.create_run_for_job(job, tags={"dagster/partition": "1"}, status=DagsterRunStatus.STARTED)
    assert partitions_in_flight(pipeline.instance, METER_READINGS, ["1", "2"]) == {"1"}

    pipeline.sql("DELETE FROM energy_meters")
    found = report(pipeline)
    assert found["removed"] == "2"
    assert "1" in found["removed later"]
    assert pipeline.partitions() == {"1"}

    pipeline.instance.report_run_canceled(run)
    assert report(pipeline)["removed"] == "1"


def test_a_failed_query_deletes_no_partition(pipeline, simulated_gateway):
    pipeline.add_meter(1, simulated_gateway({1: SimulatedUnit()}).port)
    report(pipeline)
    pipeline.sql("ALTER TABLE energy_meters RENAME TO hidden")
    result = pipeline.run("discovery")
    assert not result.success
    assert pipeline.partitions() == {"1"}


def test_changes_are_in_the_order_of_the_ids():
    assert partition_changes({"2", "10", "1"}, {"1", "30", "4"}) == (["2", "10"], ["4", "30"])


@pytest.mark.parametrize("tag", ["dagster/asset_partition_range_start", None])
def test_a_run_over_a_range_and_a_backfill_may_name_any_partition(pipeline, tag):
    job = build_definitions(current_settings()).resolve_job_def("poll")
    if tag:
        tags = {tag: "1", "dagster/asset_partition_range_end": "9"}
        pipeline.instance.add_dynamic_partitions("meters", ["1", "9"])
        pipeline.instance.create_run_for_job(job, tags=tags, status=DagsterRunStatus.STARTED)
    else:
        pipeline.instance.add_backfill(
            PartitionBackfill(
                backfill_id="one",
                status=BulkActionStatus.REQUESTED,
                from_failure=False,
                tags={},
                backfill_timestamp=1.0,
                asset_selection=[METER_READINGS],
            )
        )
    assert partitions_in_flight(pipeline.instance, METER_READINGS, ["5"]) == {"5"}


def test_a_scheduled_discovery_waits_for_its_second(pipeline, wall_clock, monkeypatch):
    tick = wall_clock.now(UTC)
    monkeypatch.setenv("SCHEDULER_CRON_SECOND_TRIGGER", "2")
    current_settings.cache_clear()
    assert pipeline.run("discovery", tags={TICK_TAG: tick.isoformat()}).success
    assert wall_clock.slept == [2.0]


@pytest.mark.parametrize("job", ["poll", "discovery"])
def test_a_run_that_hangs_is_ended_by_the_daemon(pipeline, job):
    definition = build_definitions(current_settings()).resolve_job_def(job)
    assert 0 < int(definition.tags["dagster/max_runtime"]) <= 1800
