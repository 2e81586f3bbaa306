"""Failing meters: the second attempt, the back-off, and their display in Dagster."""

from datetime import UTC, datetime, timedelta

import pytest
from dagster import DagsterEventType
from support.meters import SimulatedUnit, encode_value, inputs

from emm_pipeline.defs.runs import ScheduledPoll
from emm_pipeline.fleet import DataType
from emm_pipeline.polling.sharding import Shard
from emm_pipeline.polling.timing import Window


def unit(**faults):
    words = {(4, address): 0 for address in range(80)}
    words |= inputs(0, encode_value(230.5, DataType.FLOAT)) | inputs(52, encode_value(1000.0, DataType.FLOAT))
    return SimulatedUnit(words, **faults)


@pytest.fixture
def gateway(pipeline, polled_gateway):
    """A gateway with the discovered meters 1 and 2, with a simulated clock."""
    gateway = polled_gateway({1: unit(), 2: unit()})
    pipeline.add_meter(1, gateway.port)
    pipeline.add_meter(2, gateway.port, unit_id=2)
    pipeline.sql("INSERT INTO meter_types (type, timeout_s) VALUES ('sdm630', 1)")
    assert pipeline.run("discovery").success
    return gateway


def asked(gateway, unit_id):
    return sum(request.unit_id == unit_id for request in gateway.received)


NOW = datetime.now(UTC).replace(second=0, microsecond=0)
"""The base time of all ticks of a test, however long it takes."""


def tick(minutes_ago, lasts=timedelta(seconds=50)):
    """Return the tags of the scheduled poll of this number of minutes ago."""
    due = NOW - timedelta(minutes=minutes_ago)
    return ScheduledPoll(Shard(), Window(due, due + lasts)).tags()


def failure_of(pipeline, result):
    (event,) = pipeline.events(result, DagsterEventType.STEP_FAILURE)
    return event.event_specific_data.user_failure_data.description


def test_a_meter_that_fails_for_a_moment_is_read_at_the_second_attempt_and_its_partition_is_fine(pipeline, gateway):
    gateway.units[2].silent = lambda: asked(gateway, 2) == 1
    result = pipeline.run("poll")
    assert result.success
    assert pipeline.statuses() == {"materialized": {"1", "2"}, "failed": set()}
    assert pipeline.sql("SELECT id, count(*) FROM readings GROUP BY id ORDER BY id") == [(1, 2), (2, 2)]
    assert [row.ok for row in pipeline.sql("SELECT ok FROM emm_poll WHERE id = 2 ORDER BY time")] == [False, True]
    (sample,) = pipeline.observation(result)["sample times"]
    assert (sample.data["meters"], sample.data["failed"], sample.data["read at a second attempt"]) == (2, 1, 1)
    assert asked(gateway, 1) == 2, "a meter that was read is not polled again"


def test_a_second_attempt_is_made_within_the_samples_time_only(pipeline, gateway):
    gateway.units[2].silent = True
    pipeline.run("poll", tags=tick(1))
    assert asked(gateway, 2) == 1
    due = datetime.now(UTC)
    pipeline.run("poll", tags=ScheduledPoll(Shard(), Window(due, due + timedelta(seconds=200))).tags())
    assert asked(gateway, 2) == 1 + 1 + 1


def test_a_meter_that_keeps_failing_is_asked_less_often_and_its_partition_says_why_and_since_when(pipeline, gateway):
    gateway.units[2].silent = True
    for minutes_ago in (9, 8, 7, 6):
        result = pipeline.run("poll", tags=tick(minutes_ago))
    assert asked(gateway, 2) == 3, "the fourth sample is too early"
    assert asked(gateway, 1) == 2 * 4, "its neighbour lost none"
    assert result.success, "a meter that is known to fail is no news"
    logged = [entry.user_message for entry in pipeline.instance.all_logs(result.run_id)]
    (reason,) = [message for message in logged if message.startswith("known before: ")]
    assert "1 of 2 meters failed: meter 2" in reason
    assert "no reply within 1.0 s" in reason
    assert "failing since" in reason
    assert "next attempt at" in reason
    assert pipeline.statuses()["failed"] == {"2"}

    gateway.units[2].silent = False
    assert pipeline.run("poll", tags=tick(5)).success, "the next attempt was due, and the first success ends it"
    assert pipeline.run("poll", tags=tick(4)).success
    assert pipeline.statuses()["failed"] == set()


@pytest.mark.parametrize("how", ["by hand", "one partition"])
def test_a_meter_that_is_not_due_is_read_if_a_person_requests_it(pipeline, gateway, how):
    gateway.units[2].silent = True
    for minutes_ago in (9, 8, 7):
        pipeline.run("poll", tags=tick(minutes_ago))
    gateway.units[2].silent = False
    assert pipeline.run("poll", tags=tick(6)).success, "it is not due, and known to fail"
    options = {"partition_key": "2"} if how == "one partition" else {}
    assert pipeline.run("poll", **options).success
    assert pipeline.sql("SELECT count(*) FROM readings WHERE id = 2") == [(2,)]


def test_a_changed_row_is_read_with_the_next_poll_however_long_the_meter_failed(pipeline, gateway):
    gateway.units[3] = unit()
    pipeline.sql("UPDATE energy_meters SET slave_address = 4 WHERE id = 2")
    for minutes_ago in (9, 8, 7):
        pipeline.run("poll", tags=tick(minutes_ago))
    pipeline.sql("UPDATE energy_meters SET slave_address = 3 WHERE id = 2")
    assert pipeline.run("discovery").success
    assert pipeline.run("poll", tags=tick(6)).success


def test_unsupported_registers_are_reported_by_the_run_and_are_not_a_failure(pipeline, gateway):
    pipeline.sql("INSERT INTO registers VALUES ('sdm630', 4, 'voltageL3', 'V', 3, 4, 2, 2)")
    gateway.units[2].exceptions = {5: 2}
    for _ in range(2):
        result = pipeline.run("poll")
        assert result.success
        (row,) = pipeline.observation(result)["findings"]
        assert (row.data["id"], row.data["unit"]) == (2, 2)
        assert "registers 4-5 (voltageL3): refused with exception 2 (illegal data address)" in row.data["notice"]
    assert pipeline.sql("SELECT id, count(*) FROM readings GROUP BY id ORDER BY id") == [(1, 6), (2, 4)]
    assert pipeline.sql("SELECT meter_id, type, function_code, register_address, count FROM refused_registers") == [
        (2, "sdm630", 4, 4, 2)
    ]


def test_an_unavailable_store_is_not_a_failure_of_a_meter(pipeline, gateway, monkeypatch):
    """Its points wait in the outbox, and the meters are read at every sample time."""
    pipeline.sql("ALTER TABLE readings RENAME TO readings_away")
    for minutes_ago in (9, 8, 7, 6):
        pipeline.run("poll", tags=tick(minutes_ago))
    assert asked(gateway, 1) == 2 * 4
    assert pipeline.sql("SELECT failed_samples, failures_in_a_row FROM meter_status ORDER BY id") == [(0, 0)] * 2
