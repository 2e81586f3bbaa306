"""PostgreSQL is unavailable while a run reads: the readings are stored, and reported once the database answers."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from dagster import DagsterEventType
from support.dagster_ui import wait_for
from support.meters import SimulatedUnit

from emm_pipeline.defs.runs import ScheduledPoll
from emm_pipeline.polling.sharding import Shard
from emm_pipeline.polling.timing import Window
from emm_pipeline.settings import current_settings
from emm_pipeline.stores import delivery

METERS = 20
SECOND_READING_S = 12


class Outage:
    """Stops PostgreSQL at the first request to a meter, and starts it when `safe` returns that the points are safe."""

    def __init__(self, postgres, gateway, safe):
        self._postgres, self._gateway, self._safe = postgres, gateway, safe
        self._thread = threading.Thread(target=self._happen)
        self.points_were_safe = False

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._thread.join(120)

    def _happen(self):
        wait_for("a request", lambda: self._gateway.requests > 0, every_s=0.02)
        self._postgres.stop()
        try:
            wait_for("the points to be safe", self._safe, every_s=0.05)
            self.points_were_safe = True
        finally:
            self._postgres.start()


@pytest.fixture
def slow_gateway(pipeline, simulated_gateway, monkeypatch):
    """Twenty discovered meters with slow replies, so that PostgreSQL stops while they are read."""
    gateway = simulated_gateway(
        {id_: SimulatedUnit({(4, address): 0 for address in range(80)}, delay_s=0.03) for id_ in range(1, METERS + 1)}
    )
    for id_ in range(1, METERS + 1):
        pipeline.add_meter(id_, gateway.port, unit_id=id_)
    assert pipeline.run("discovery").success
    monkeypatch.setattr(delivery, "RETRIED_FOR_S", 0)
    monkeypatch.setattr(delivery, "LEAST_TIME_S", 0.2)
    return gateway


def tags_of_two_readings(monkeypatch):
    """The tags of a scheduled poll that reads now and a few seconds later."""
    tick = datetime.now(UTC).replace(microsecond=0)
    monkeypatch.setenv("INFLUX_UPDATER_CRON_SECOND_TRIGGER", f"0,{SECOND_READING_S}")
    current_settings.cache_clear()
    return ScheduledPoll(Shard(), Window(tick, tick + timedelta(seconds=50))).tags()


def test_all_readings_of_a_run_are_kept_and_reported_though_the_database_was_unavailable(
    pipeline, slow_gateway, postgres, monkeypatch
):
    tags = tags_of_two_readings(monkeypatch)
    outbox = current_settings().outbox_folder
    with Outage(postgres, slow_gateway, lambda: len(list(outbox.glob("2*"))) == 2) as outage:
        result = pipeline.run("poll", tags=tags)
    assert outage.points_were_safe, "both readings were on disk before the database was back"
    assert pipeline.statuses() == {"materialized": {str(id_) for id_ in range(1, METERS + 1)}, "failed": set()}
    steps = [event.step_key for event in pipeline.events(result, DagsterEventType.STEP_START)]
    assert len(steps) == len(set(steps)) == 6, "the events of every step are written, once"
    assert pipeline.run("replay").success
    rows = pipeline.sql("SELECT count(*), count(DISTINCT (id, measurement, time)) FROM readings")
    assert rows == [(2 * 2 * METERS, 2 * 2 * METERS)]


def test_a_store_other_than_the_database_gets_the_points_while_the_database_is_unavailable(
    pipeline, slow_gateway, postgres, influxdb, monkeypatch
):
    bucket = influxdb.create_database("outage_of_postgresql")
    for name, value in {
        "READINGS_STORE": "influxdb",
        "INFLUXDB_URL": influxdb.url,
        "INFLUXDB_TOKEN": influxdb.token,
        "INFLUXDB_BUCKET": bucket,
        "INFLUXDB_ORG": influxdb.org,
    }.items():
        monkeypatch.setenv(name, value)
    current_settings.cache_clear()

    def stored():
        return sorted(int(row["id"]) for row in influxdb.query('SELECT value FROM "voltageL1" GROUP BY id', bucket))

    monkeypatch.setattr(delivery, "LEAST_TIME_S", 60)  # this store is available, but the machine may be busy
    with Outage(postgres, slow_gateway, lambda: len(stored()) == METERS) as outage:
        result = pipeline.run("poll")
    assert result.success
    assert outage.points_were_safe
    assert stored() == list(range(1, METERS + 1))
    assert len(pipeline.statuses()["materialized"]) == METERS
