"""Users can add a partition with any name on the asset's page. A name that is not a meter's id affects no poll."""

from datetime import UTC, datetime

import pytest
from dagster import DagsterEventType, DagsterRunStatus, build_schedule_context
from support.meters import SimulatedUnit

from emm_pipeline.definitions import build_definitions
from emm_pipeline.defs.partitions import METERS, meter_ids, other_keys
from emm_pipeline.settings import current_settings

NO_IDS = ["boiler", "", " 2", "\uff12", "1_0", "+3", "03", "2.0", "99999999999999999999", "2147483648", "9" * 5000]


@pytest.fixture
def meter(pipeline, simulated_gateway):
    """The discovered meter 1, and a partition `boiler`."""
    pipeline.add_meter(1, simulated_gateway({1: SimulatedUnit({(4, address): 0 for address in range(80)})}).port)
    assert pipeline.run("discovery").success
    pipeline.instance.add_dynamic_partitions(METERS.name, ["boiler"])
    return pipeline


def warnings(pipeline, result) -> str:
    return "\n".join(entry.user_message for entry in pipeline.instance.all_logs(result.run_id) if entry.level == 30)


def failure_of(pipeline, result) -> str:
    (event,) = pipeline.events(result, DagsterEventType.STEP_FAILURE)
    return event.event_specific_data.user_failure_data.description


def test_an_id_is_a_number_as_the_database_writes_it():
    assert meter_ids(["0", "1", "-5", "2147483647", *NO_IDS]) == {0, 1, -5, 2147483647}
    assert other_keys(["0", "1", "-5", *NO_IDS]) == sorted(NO_IDS)


def evaluate_tick(pipeline):
    schedule = build_definitions(current_settings()).resolve_schedule_def("poll_schedule")
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    with build_schedule_context(instance=pipeline.instance, scheduled_execution_time=now) as context:
        return schedule.evaluate_tick(context)


def test_a_tick_polls_the_meters_and_reports_the_ignored_partitions(meter, capfd):
    assert len(evaluate_tick(meter).run_requests) == 1
    assert "not the id of a meter are ignored: 'boiler'" in capfd.readouterr().err


def test_a_tick_without_any_meter_is_skipped_whatever_other_partitions_there_are(pipeline):
    pipeline.instance.add_dynamic_partitions(METERS.name, ["boiler"])
    assert "energy_meters" in evaluate_tick(pipeline).skip_message


def test_a_poll_of_all_meters_reads_them(meter):
    assert meter.run("poll").success
    assert meter.statuses() == {"materialized": {"1"}, "failed": set()}


def test_discovery_removes_a_partition_that_is_not_an_id_and_reports_it(meter):
    result = meter.run("discovery")
    assert result.success
    assert meter.partitions() == {"1"}
    assert "boiler" in warnings(meter, result)
    assert "emm meters add" in warnings(meter, result)
    assert meter.run("discovery").success


@pytest.mark.parametrize("key", NO_IDS[2:])
def test_discovery_removes_every_key_that_is_not_an_id(meter, key):
    meter.instance.add_dynamic_partitions(METERS.name, [key])
    assert meter.run("discovery").success
    assert meter.partitions() == {"1"}


def test_discovery_keeps_the_partition_while_a_run_refers_to_it(meter):
    job = build_definitions(current_settings()).resolve_job_def("poll")
    tags = {"dagster/partition": "boiler"}
    run = meter.instance.create_run_for_job(job, tags=tags, status=DagsterRunStatus.STARTED)
    assert meter.run("discovery").success
    assert meter.partitions() == {"1", "boiler"}
    meter.instance.report_run_canceled(run)
    assert meter.run("discovery").success
    assert meter.partitions() == {"1"}


def test_a_run_for_a_partition_that_is_not_an_id_fails_with_the_reason(meter):
    result = meter.run("poll", partition_key="boiler")
    assert "partition 'boiler' is not the id of a meter" in failure_of(meter, result)


def test_a_run_over_several_partitions_reads_the_meters_among_them_and_fails_for_the_other(meter):
    tags = {"dagster/asset_partition_range_start": "1", "dagster/asset_partition_range_end": "boiler"}
    result = meter.run("poll", tags=tags)
    assert not result.success
    assert "partition 'boiler' is not the id of a meter" in failure_of(meter, result)
    assert meter.sql("SELECT DISTINCT id FROM readings") == [(1,)]
    assert "1" in meter.statuses()["materialized"]
