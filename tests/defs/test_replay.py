"""The replay job and its sensor, and polls with an unavailable store, with a real PostgreSQL and simulated meters."""

from datetime import timedelta

import pytest
from dagster import DagsterEventType, DefaultSensorStatus, RunRequest, build_sensor_context
from support.frames import NOON, points, reading, readings
from support.meters import SimulatedUnit, encode_value, inputs

from emm_pipeline.defs import replay
from emm_pipeline.fleet import DataType
from emm_pipeline.opening import open_outbox
from emm_pipeline.settings import current_settings
from emm_pipeline.stores import delivery


@pytest.fixture
def outbox(pipeline):
    return open_outbox(current_settings())


@pytest.fixture
def meter(pipeline, simulated_gateway, monkeypatch):
    """A discovered meter."""
    monkeypatch.setattr(delivery, "RETRIED_FOR_S", 0)
    words = inputs(0, encode_value(230.5, DataType.FLOAT)) | inputs(52, encode_value(1234.0, DataType.FLOAT))
    gateway = simulated_gateway({1: SimulatedUnit({(4, address): 0 for address in range(60)} | words)})
    pipeline.add_meter(1, gateway.port)
    assert pipeline.run("discovery").success
    return gateway


@pytest.fixture
def store_away(pipeline):
    """Remove the tables of the readings store, as if `emm db upgrade` had not been run yet."""
    pipeline.sql("ALTER TABLE readings RENAME TO away")
    return lambda: pipeline.sql("ALTER TABLE away RENAME TO readings")


def put(outbox, minutes=1):
    for minute in range(minutes):
        time = NOON + timedelta(minutes=minute)
        outbox.put(points(readings(reading(time=time, value=minute))), time, "earlier").close()


def failure(pipeline, result):
    (event,) = pipeline.events(result, DagsterEventType.STEP_FAILURE)
    failed = event.event_specific_data
    return failed.user_failure_data.description if failed.user_failure_data else failed.error.message


def test_a_poll_with_an_unavailable_store_fails_its_run_but_no_meter_and_keeps_the_points(
    pipeline, meter, store_away, outbox
):
    result = pipeline.run("poll")
    assert not result.success
    assert failure(pipeline, result).startswith("Store: PostgreSQL at")
    assert "waiting in the outbox: 3 points" in failure(pipeline, result)
    assert pipeline.statuses() == {"materialized": {"1"}, "failed": set()}
    (file,) = outbox.waiting()
    assert (file.points, result.run_id in file.name) == (3, True)

    store_away()
    assert pipeline.run("replay").success
    assert [row.value for row in pipeline.sql("SELECT value FROM readings ORDER BY value")] == [230.5, 1234.0]
    assert outbox.names() == []


def test_a_meter_with_a_point_that_the_store_rejects_fails_with_the_reason(pipeline, meter, outbox):
    pipeline.sql("ALTER TABLE readings ADD CHECK (value < 1000)")
    result = pipeline.run("poll")
    assert not result.success
    assert "the store rejected 1 point (kept in the outbox's folder rejected)" in failure(pipeline, result)
    assert pipeline.statuses()["failed"] == {"1"}
    assert [row.value for row in pipeline.sql("SELECT value FROM readings")] == [230.5]
    (file,) = outbox.rejected()
    assert "violates check constraint" in file.reason
    assert outbox.names() == []


def test_a_replay_stores_waiting_points_with_the_original_times(pipeline, outbox):
    put(outbox, minutes=3)
    assert pipeline.run("replay").success
    rows = pipeline.sql("SELECT time, value FROM readings ORDER BY time")
    assert [(row.time, row.value) for row in rows] == [(NOON + timedelta(minutes=n), n) for n in range(3)]


def look(pipeline):
    """Evaluate the sensor; return a run request, or the reason why there is none."""
    return replay.replay_sensor(build_sensor_context(pipeline.instance))


def test_the_sensor_asks_for_a_run_while_a_batch_waits_that_no_poll_is_loading(pipeline, outbox):
    assert look(pipeline).skip_message == "No points wait in the outbox."
    with outbox.put(points(readings(reading())), NOON, "poll"):
        assert look(pipeline).skip_message == "No points wait in the outbox."
    assert isinstance(look(pipeline), RunRequest)
    run = pipeline.instance.create_run_for_job(replay.replay_job)
    assert look(pipeline).skip_message == f"Run {run.run_id[:8]} is loading them."


def test_the_sensor_asks_for_no_run_while_the_store_is_unavailable_nor_right_after_one_failed(
    pipeline, outbox, store_away, monkeypatch
):
    put(outbox)
    assert "emm db upgrade" in look(pipeline).skip_message
    assert not pipeline.run("replay").success
    store_away()
    assert "failed; the next one starts at" in look(pipeline).skip_message
    monkeypatch.setattr(replay, "PAUSE_AFTER_FAILURE", timedelta(0))
    assert isinstance(look(pipeline), RunRequest)


def test_an_unreadable_outbox_is_reported_and_does_not_stop_the_sensor(pipeline, outbox):
    outbox.folder.write_text("no folder")
    assert "OUTBOX_DIR" in look(pipeline).skip_message


def test_the_sensor_is_on_from_the_start():
    assert replay.replay_sensor.default_status is DefaultSensorStatus.RUNNING
