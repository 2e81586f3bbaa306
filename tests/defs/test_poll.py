"""The poll, executed in this process with a real PostgreSQL and simulated meters: stored points, and its display."""

from datetime import UTC, timedelta
from logging import WARNING

import pytest
from dagster import DagsterEvent, DagsterEventType, FloatMetadataValue, IntMetadataValue
from support.meters import SimulatedUnit, encode_value, inputs
from support.ports import free_port

from emm_pipeline.dagster_ext.internals import AssetMaterializationPlannedData
from emm_pipeline.definitions import build_definitions
from emm_pipeline.defs.partitions import METER_READINGS
from emm_pipeline.defs.runs import ScheduledPoll
from emm_pipeline.fleet import DataType
from emm_pipeline.polling.sharding import Shard
from emm_pipeline.polling.timing import Window
from emm_pipeline.settings import current_settings


def unit(voltage=230.5, power=1000.0, **faults):
    words = {(4, address): 0 for address in range(80)}
    words |= inputs(0, encode_value(voltage, DataType.FLOAT)) | inputs(52, encode_value(power, DataType.FLOAT))
    return SimulatedUnit(words, **faults)


@pytest.fixture
def gateway(simulated_gateway):
    """The gateway of meters 1 and 2."""
    return simulated_gateway({1: unit(), 2: unit(voltage=231.5)})


@pytest.fixture
def three_meters(pipeline, gateway):
    """Meters 1 and 2 reply, 3 is a closed port; all are discovered."""
    pipeline.add_meter(1, gateway.port)
    pipeline.add_meter(2, gateway.port, unit_id=2)
    pipeline.add_meter(3, free_port())
    assert pipeline.run("discovery").success
    return pipeline


def failure_of(pipeline, result):
    (event,) = pipeline.events(result, DagsterEventType.STEP_FAILURE)
    return event.event_specific_data.user_failure_data


def test_one_dead_meter_does_not_affect_others_and_only_its_partition_fails(three_meters):
    result = three_meters.run("poll")
    assert not result.success
    values = three_meters.sql("SELECT id, measurement, value FROM readings ORDER BY id, measurement")
    assert [tuple(row) for row in values] == [
        (1, "activePower", 1000.0),
        (1, "voltageL1", 230.5),
        (2, "activePower", 1000.0),
        (2, "voltageL1", 231.5),
    ]
    assert three_meters.statuses() == {"materialized": {"1", "2"}, "failed": {"3"}}
    failure = failure_of(three_meters, result)
    assert "1 of 3 meters failed: meter 3" in failure.description
    (row,) = failure.metadata["failed"].records
    assert (row.data["id"], row.data["unit"]) == (3, 1)
    assert row.data["host:port"] in failure.description
    assert "refused" in row.data["reason"]


def test_the_run_shows_the_number_of_meters_its_duration_and_its_delay(three_meters, gateway, wall_clock, monkeypatch):
    words = gateway.units[1].registers

    def words_after_a_while(function_code, address):
        if address == 0:
            wall_clock.sleep(2.5)
        return words[function_code, address]

    gateway.units[1].registers = words_after_a_while
    _, tags = scheduled([], wall_clock, monkeypatch)
    shown = three_meters.observation(three_meters.run("poll", tags=tags))
    assert (shown["meters polled"], shown["meters failed"]) == (3, 1)
    assert (shown["points"], shown["requests"]) == (4, 4)
    (sample,) = shown["sample times"]
    assert (sample.data["meters"], sample.data["failed"]) == (3, 1)
    assert (sample.data["late (s)"], sample.data["time taken (s)"]) == (1.0, 2.5)


def test_a_run_whose_clock_is_before_the_newest_reading_says_so_and_stores_what_it_read(three_meters):
    three_meters.sql("DELETE FROM energy_meters WHERE id = 3")
    three_meters.sql("UPDATE meter_status SET last_read_at = '2100-01-01 00:00+00' WHERE id = 2")
    result = three_meters.run("poll")
    assert result.success
    shown = three_meters.observation(result)["wrong clock"]
    assert "a reading of 2100-01-01 00:00:00 UTC is stored" in shown
    logged = [entry.user_message for entry in three_meters.instance.all_logs(result.run_id) if entry.level == WARNING]
    assert shown in logged
    assert three_meters.sql("SELECT count(DISTINCT id) FROM readings") == [(2,)]


def test_a_meter_that_was_read_shows_its_results(three_meters):
    result = three_meters.run("poll")
    events = three_meters.events(result, DagsterEventType.ASSET_MATERIALIZATION)
    by_partition = {event.partition: event.event_specific_data.materialization.metadata for event in events}
    assert set(by_partition) == {"1", "2"}, "and no materialization of the asset as a whole"
    assert (by_partition["1"]["points"].value, by_partition["1"]["requests"].value) == ("2", "2")
    assert "127.0.0.1" in by_partition["1"]["address"].value


def test_plots_of_the_asset_show_numbers_of_the_fleet_and_do_not_join_those_of_different_meters(three_meters):
    result = three_meters.run("poll")
    reported = [
        (event.partition, event.event_specific_data.materialization.metadata)
        for event in three_meters.events(result, DagsterEventType.ASSET_MATERIALIZATION)
    ] + [
        (event.partition, event.event_specific_data.asset_observation.metadata)
        for event in three_meters.events(result, DagsterEventType.ASSET_OBSERVATION)
    ]
    plotted = {
        partition: {name for name, each in metadata.items() if isinstance(each, IntMetadataValue | FloatMetadataValue)}
        for partition, metadata in reported
    }
    of_the_fleet = {"meters polled", "meters failed", "points", "requests"}
    assert plotted == {"1": set(), "2": set(), "3": set(), None: of_the_fleet}


def test_success_clears_the_failed_status(three_meters, simulated_gateway):
    three_meters.run("poll")
    three_meters.sql(f"UPDATE energy_meters SET port = {simulated_gateway({1: unit()}).port} WHERE id = 3")
    assert three_meters.run("poll").success
    assert three_meters.statuses() == {"materialized": {"1", "2", "3"}, "failed": set()}


def test_a_run_for_one_partition_reads_that_meter_only(three_meters):
    assert three_meters.run("poll", partition_key="2").success
    assert three_meters.sql("SELECT DISTINCT id FROM readings") == [(2,)]
    assert three_meters.statuses()["materialized"] == {"2"}


def test_a_meter_that_was_never_discovered_is_not_polled_yet(three_meters):
    three_meters.add_meter(9, free_port())
    result = three_meters.run("poll")
    assert "meter 9" not in failure_of(three_meters, result).description


def test_a_misconfigured_meter_is_failed_by_name_with_the_reason(three_meters):
    three_meters.sql("UPDATE energy_meters SET type = 'nothing' WHERE id = 3")
    result = three_meters.run("poll")
    failure = failure_of(three_meters, result)
    assert "meter 3: configuration" in failure.description
    assert three_meters.statuses() == {"materialized": {"1", "2"}, "failed": {"3"}}


def test_an_unavailable_database_fails_the_run_with_its_address_and_without_a_password(three_meters, monkeypatch):
    monkeypatch.setenv("POSTGRES_DB", "gone")
    monkeypatch.setenv("POSTGRES_PASSWORD", "hunter2")
    current_settings.cache_clear()
    result = three_meters.run("poll")
    (event,) = three_meters.events(result, DagsterEventType.STEP_FAILURE)
    text = str(event.event_specific_data)
    assert "gone" in text
    assert "hunter2" not in text


def scheduled(due, wall_clock, monkeypatch):
    """Return a tick a second ago and the tags of its poll, which reads at once and at the seconds `due` after it."""
    tick = wall_clock.now(UTC)
    wall_clock.sleep(1)
    monkeypatch.setenv("INFLUX_UPDATER_CRON_SECOND_TRIGGER", ",".join(map(str, [0, *due])))
    current_settings.cache_clear()
    return tick, ScheduledPoll(Shard(), Window(tick, tick + timedelta(seconds=40))).tags()


def test_samples_are_taken_on_their_seconds_and_each_is_loaded_before_the_next(three_meters, wall_clock, monkeypatch):
    tick, tags = scheduled([7, 10, 13], wall_clock, monkeypatch)
    result = three_meters.run("poll", tags=tags)
    times = [row.time for row in three_meters.sql("SELECT DISTINCT time FROM readings WHERE id = 1 ORDER BY time")]
    assert [(time - tick).total_seconds() for time in times] == [1, 7, 10, 13]
    steps = [event.step_key for event in three_meters.events(result, DagsterEventType.STEP_SUCCESS)]
    stages = [step.split("[")[0].split(".")[-1] for step in steps]
    assert stages == ["sample_times", *["read_and_decode", "load"] * 4]


def test_a_meter_that_succeeds_again_is_not_reported_again_within_the_status_interval(three_meters, monkeypatch):
    three_meters.run("poll")
    monkeypatch.setenv("STATUS_INTERVAL_S", "900")
    current_settings.cache_clear()
    result = three_meters.run("poll")
    (stated,) = three_meters.events(result, DagsterEventType.ASSET_MATERIALIZATION)
    assert stated.partition == "1", "one is stated in each run, for the freshness policy"
    assert three_meters.statuses() == {"materialized": {"1", "2"}, "failed": {"3"}}
    assert three_meters.run("poll", partition_key="1").success
    assert three_meters.statuses()["materialized"] == {"1", "2"}


def test_emm_poll_contains_the_result_of_each_meter(three_meters):
    three_meters.run("poll")
    rows = three_meters.sql("SELECT id, ok, points, requests, error FROM emm_poll ORDER BY id")
    dead_twice = [(3, False, 0), (3, False, 0)]  # it had its second attempt
    assert [(row.id, row.ok, row.points) for row in rows] == [(1, True, 2), (2, True, 2), *dead_twice]
    assert rows[0].error is None
    assert "refused" in rows[2].error


def test_a_partition_that_dagster_shows_as_failed_is_reported_as_soon_as_it_is_read(three_meters, monkeypatch):
    three_meters.run("poll")
    job = build_definitions(current_settings()).resolve_job_def("poll")
    died = three_meters.instance.create_run_for_job(job, tags={"dagster/partition": "1"})
    planned = DagsterEvent.build_asset_materialization_planned_event(
        "poll", "meter_readings.report_results", AssetMaterializationPlannedData(METER_READINGS, partition="1")
    )
    three_meters.instance.report_dagster_event(planned, run_id=died.run_id)
    three_meters.instance.report_run_failed(died)
    assert three_meters.statuses()["failed"] == {"1", "3"}

    monkeypatch.setenv("STATUS_INTERVAL_S", "3600")
    current_settings.cache_clear()
    three_meters.run("poll")
    assert three_meters.statuses()["failed"] == {"3"}


def test_a_meter_that_has_no_partition_any_more_leaves_no_status_behind(three_meters):
    three_meters.instance.delete_dynamic_partition("meters", "2")
    three_meters.sql("DELETE FROM meter_status")
    three_meters.run("poll")
    assert three_meters.sql("SELECT id FROM meter_status ORDER BY id") == [(1,), (3,)]
