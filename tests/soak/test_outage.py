"""InfluxDB is unavailable for a simulated hour: waiting points are stored afterwards, with their reading times."""

from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from soak.judge import CountingUnit, Judge
from soak.loader import COUNTING
from soak.table import publish
from support.dagster_ui import wait_for

from emm_pipeline.errors import StoreError
from emm_pipeline.fleet import EnergyMeter
from emm_pipeline.polling import pipeline
from emm_pipeline.polling.plan import PollPlan
from emm_pipeline.polling.timing import SampleTime
from emm_pipeline.stores import delivery as delivery_module
from emm_pipeline.stores.delivery import Delivery
from emm_pipeline.stores.influxdb.store import InfluxReadingsStore
from emm_pipeline.stores.outbox.folder import Outbox

METERS = 100
POLLS = 60
"""Number of polls, one per simulated minute, executed without pauses."""


@pytest.mark.soak
def test_an_hour_without_influxdb_loses_no_points(influxdb, simulated_gateway, tmp_path, monkeypatch):
    monkeypatch.setattr(delivery_module, "RETRIED_FOR_S", 0)
    monkeypatch.setattr(delivery_module, "LEAST_TIME_S", 0.4)
    units = {id_: CountingUnit() for id_ in range(1, METERS + 1)}
    port = simulated_gateway(units).port
    meters = tuple(EnergyMeter(id_, "127.0.0.1", port, id_, "counting") for id_ in units)
    plan = PollPlan(meters, {"counting": COUNTING})
    bucket = influxdb.create_database("hour")
    judge = Judge(units, tmp_path / "outbox", tmp_path / "archive", influxdb, bucket)
    outbox = Outbox(tmp_path / "outbox", 10**9)
    with closing(InfluxReadingsStore(influxdb.url, influxdb.token, influxdb.org, bucket)) as store:
        delivery = Delivery(store, outbox)
        influxdb.kill()
        for number in range(POLLS):
            now = datetime.now(UTC)
            sample = SampleTime(now, now + timedelta(seconds=30))
            reading, _ = pipeline.read_and_decode(plan, sample, delivery, f"poll-{number}", pipeline.Limits(200))
            result = pipeline.load(delivery, reading)
            assert "waiting in the outbox: 300 points" in result.store_problems[0]
        recorded = judge.recorded()
        assert len(recorded) == METERS * POLLS * 2
        influxdb.start()
        wait_for("InfluxDB to answer", lambda: answers(store))
        done = delivery.replay()
    assert (done.files, done.problems, outbox.names()) == (POLLS, [], [])
    row = judge.verdict(f"InfluxDB away for a simulated hour: {POLLS} polls of {METERS} meters", 1)
    publish(row)
    assert row.is_clean()
    assert row.stored == row.read == METERS * POLLS
    assert set(judge.stored()) == recorded


def answers(store):
    try:
        store.ping()
    except StoreError:
        return False
    return True
