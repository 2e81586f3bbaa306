"""Red means news: a week of one dead meter among ten is one red run, and its partition stays red all the time."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from dagster import AssetKey, DagsterEventType, DagsterRunStatus
from sqlalchemy import text
from support.meters import SimulatedUnit, encode_value, inputs

from emm_pipeline.alerts import rules
from emm_pipeline.alerts.state import meter_conditions, raised_alerts, save_changes
from emm_pipeline.dagster_ext.run_history import prune_runs
from emm_pipeline.defs.partitions import METER_READINGS, METERS
from emm_pipeline.defs.runs import ScheduledPoll
from emm_pipeline.fleet import DataType
from emm_pipeline.polling.sharding import Shard
from emm_pipeline.polling.timing import Window

OLD = timedelta(hours=100)


def unit(**faults):
    words = {(4, address): 0 for address in range(80)}
    words |= inputs(0, encode_value(230.5, DataType.FLOAT)) | inputs(52, encode_value(1000.0, DataType.FLOAT))
    return SimulatedUnit(words, **faults)


@pytest.fixture
def ten(pipeline, polled_gateway):
    """Ten meters behind one gateway, discovered; the clock is the test's own."""
    gateway = polled_gateway({number: unit() for number in range(1, 11)})
    for number in range(1, 11):
        pipeline.add_meter(number, gateway.port, unit_id=number)
    pipeline.sql("INSERT INTO meter_types (type, timeout_s) VALUES ('sdm630', 1)")
    assert pipeline.run("discovery").success
    return gateway


def poll(pipeline):
    """Poll as the schedule does, whether a failing meter's next attempt is due or not."""
    pipeline.sql("UPDATE meter_status SET next_attempt_at = NULL")
    now = datetime.now(UTC)
    return pipeline.run("poll", tags=ScheduledPoll(Shard(), Window(now, now + timedelta(seconds=200))).tags())


def look(pipeline):
    """Compare conditions and alerts, as the sensor does; return the lines of a message."""
    changes = rules.compare(meter_conditions(pipeline.engine), raised_alerts(pipeline.engine))
    last_ok_at = {each.subject: each.last_ok_at for each in meter_conditions(pipeline.engine) if each.last_ok_at}
    lines = rules.lines(changes, last_ok_at, ZoneInfo("UTC")) if changes else []
    save_changes(pipeline.engine, changes, [])
    return [line.text for line in lines]


def a_day_later(pipeline):
    """Let a day pass for Dagster's history, and prune what is older than the retention."""
    with pipeline.instance.event_log_storage.index_connection() as connection:
        connection.execute(text("UPDATE runs SET update_timestamp = update_timestamp - interval '24 hours'"))
    before = datetime.now(UTC) - timedelta(hours=72)
    prune_runs(pipeline.instance, before, timedelta(minutes=10), asset=METER_READINGS, partitions=str(METERS.name))


def failure_of(pipeline, result):
    (event,) = pipeline.events(result, DagsterEventType.STEP_FAILURE)
    return event.event_specific_data


def test_a_week_of_one_dead_meter_among_ten_is_one_red_run_and_one_alert_at_each_end(pipeline, ten):
    assert poll(pipeline).success
    ten.units[7].silent = True
    red, alerts = [], []
    for _ in range(7):
        for _ in range(4):
            if not poll(pipeline).success:
                red.append(datetime.now(UTC))
            alerts += look(pipeline)
            assert pipeline.statuses()["failed"] == {"7"}
        a_day_later(pipeline)
        assert pipeline.statuses()["failed"] == {"7"}, "pruning leaves the status"
    assert len(red) == 1
    assert len(alerts) == 1
    assert "meter 7 fails" in alerts[0]

    ten.units[7].silent = False
    assert poll(pipeline).success
    alerts += look(pipeline)
    assert poll(pipeline).success
    alerts += look(pipeline)
    assert [("recovered" in line) for line in alerts] == [False, True]
    assert pipeline.statuses()["failed"] == set()


def test_a_second_meter_that_fails_makes_a_red_run_that_reports_both(pipeline, ten):
    ten.units[7].silent = True
    assert not poll(pipeline).success
    assert poll(pipeline).success
    ten.units[3].silent = True
    result = poll(pipeline)
    assert not result.success
    failure = failure_of(pipeline, result)
    description = failure.user_failure_data.description
    assert description.startswith("2 of 10 meters failed (1 newly): meter 3: ")
    assert {row.data["id"] for row in failure.user_failure_data.metadata["failed"].records} == {3, 7}
    planned = pipeline.events(result, DagsterEventType.ASSET_MATERIALIZATION_PLANNED)
    assert {event.partition for event in planned if event.partition} == {"3", "7"}


def test_a_meter_that_recovers_is_planned_and_read_in_one_run_so_its_page_forgets_the_failure(pipeline, ten):
    ten.units[7].silent = True
    poll(pipeline)
    ten.units[7].silent = False
    result = poll(pipeline)
    assert result.success
    planned = pipeline.events(result, DagsterEventType.ASSET_MATERIALIZATION_PLANNED)
    assert [event.partition for event in planned if event.partition] == ["7"]
    assert pipeline.statuses() == {"materialized": {str(number) for number in range(1, 11)}, "failed": set()}


def test_a_failed_run_shows_its_reason_without_a_stack_trace(pipeline, ten):
    ten.units[7].silent = True
    failure = failure_of(pipeline, poll(pipeline))
    assert "Stack Trace" not in failure.error_display_string
    assert "meter 7: " in failure.error_display_string


def test_a_person_who_polls_all_meters_sees_the_one_that_is_known_to_fail(pipeline, ten):
    ten.units[7].silent = True
    poll(pipeline)
    assert poll(pipeline).success
    assert not pipeline.run("poll").success
    assert not pipeline.run("poll", partition_key="7").success
    assert pipeline.run("poll", partition_key="6").success


def test_the_page_of_a_failing_meter_gets_its_reason_when_it_begins_to_fail_and_not_with_each_poll(pipeline, ten):
    assert poll(pipeline).success
    ten.units[7].silent = True
    observed = []
    for _ in range(3):
        events = pipeline.events(poll(pipeline), DagsterEventType.ASSET_OBSERVATION)
        observed += [event.event_specific_data.asset_observation for event in events if event.partition]
    (observation,) = observed
    assert observation.partition == "7"
    assert observation.metadata["status"].value == "failing"
    assert "no reply" in observation.metadata["reason"].value
    assert observation.metadata["address"].value == f"{ten.host}:{ten.port} unit 7"
    assert {"failing since", "read at"} <= set(observation.metadata)


def checks(pipeline, result):
    events = pipeline.events(result, DagsterEventType.ASSET_CHECK_EVALUATION)
    return {event.event_specific_data.check_name: event.event_specific_data for event in events}


def test_each_run_evaluates_the_four_checks_and_names_the_offenders(pipeline, ten):
    found = checks(pipeline, poll(pipeline))
    assert {name: each.passed for name, each in found.items()} == {
        "all_meters_read": True,
        "all_registers_delivered": True,
        "values_plausible": True,
        "outbox_empty": True,
    }
    ten.units[7].silent = True
    ten.units[3].registers |= inputs(0, encode_value(4e9, DataType.FLOAT))
    ten.units[4].registers |= inputs(52, encode_value(float("nan"), DataType.FLOAT))
    found = checks(pipeline, poll(pipeline))
    rows = {
        name: [row.data["id"] for value in each.metadata.values() for row in getattr(value, "records", [])]
        for name, each in found.items()
    }
    assert rows == {"all_meters_read": [7], "all_registers_delivered": [4], "values_plausible": [3], "outbox_empty": []}
    assert found["all_meters_read"].blocking, 'or "from asset failure" could not be executed'
    again = checks(pipeline, pipeline.run("poll", partition_key="6"))
    assert not again["all_meters_read"].passed, "a run over another meter says nothing of the dead one"


def test_old_evaluations_of_checks_are_pruned_and_each_check_keeps_its_newest(pipeline, ten):
    for _ in range(3):
        poll(pipeline)
    with pipeline.instance.event_log_storage.index_connection() as connection:
        connection.execute(text("UPDATE runs SET update_timestamp = update_timestamp - :by"), {"by": OLD})
    before = datetime.now(UTC) - timedelta(hours=72)
    prune_runs(pipeline.instance, before, timedelta(minutes=10), asset=METER_READINGS, partitions=str(METERS.name))
    with pipeline.instance.event_log_storage.index_connection() as connection:
        left = connection.execute(text("SELECT check_name, count(*) FROM asset_check_executions GROUP BY 1")).all()
    assert dict(map(tuple, left)) == dict.fromkeys(
        ("all_meters_read", "all_registers_delivered", "values_plausible", "outbox_empty"), 1
    )


def test_the_discovery_reports_the_configuration_when_it_changes_and_only_then(pipeline, ten):
    def materialized(key):
        event = pipeline.instance.get_latest_materialization_event(AssetKey(key))
        return event and event.run_id

    first = materialized("energy_meters")
    assert first
    assert materialized("registers")
    pipeline.run("discovery")
    assert materialized("energy_meters") == first
    pipeline.add_meter(11, ten.port, unit_id=1)
    changed = pipeline.run("discovery")
    assert materialized("energy_meters") == changed.run_id
    assert materialized("registers") != changed.run_id


def test_runs_of_the_schedule_have_no_tags_that_the_runs_list_shows(pipeline, ten):
    result = poll(pipeline)
    run = pipeline.instance.get_run_by_id(result.run_id)
    assert run.status is DagsterRunStatus.SUCCESS
    assert all(key.startswith((".dagster/", "dagster/")) for key in run.tags)
