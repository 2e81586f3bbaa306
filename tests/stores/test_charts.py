"""Reading from the stores: both give the same steps, failures and latest values for the same points."""

from datetime import UTC, datetime, timedelta

import pytest

from emm_pipeline.errors import StoreError
from emm_pipeline.stores.charts import Series
from emm_pipeline.stores.influxdb.charts import InfluxCharts
from emm_pipeline.stores.influxdb.store import InfluxReadingsStore
from emm_pipeline.stores.points import PointBatch
from emm_pipeline.stores.postgresql.charts import PostgresCharts
from emm_pipeline.stores.postgresql.store import PostgresReadingsStore

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAME = "voltage \"L1\" 'x'"


def ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def points() -> PointBatch:
    """Two meters, a reading every 20 s for two minutes, and a failed poll."""
    times = [START + timedelta(seconds=20 * number) for number in range(6)]
    readings = [
        {
            "time": ms(at),
            "id": id_,
            "description": "d",
            "measurement": NAME,
            "unit": unit,
            "value": 100.0 * id_ + number,
        }
        for id_ in (1, 2)
        for unit in ("V", None)
        for number, at in enumerate(times)
    ]
    poll = {"id": 1, "description": "d", "latency_ms": 5.0, "requests": 1, "points": 0, "status": "failing"}
    polls = [
        poll | {"time": ms(times[0]), "ok": True, "error": None},
        poll | {"time": ms(times[1]), "ok": False, "error": "no reply"},
        poll | {"time": ms(times[2]), "ok": False, "error": "refused"},
    ]
    return PointBatch.of(readings, polls)


@pytest.fixture
def in_postgres(config_engine) -> PostgresCharts:
    PostgresReadingsStore(config_engine).write(points())
    return PostgresCharts(config_engine)


@pytest.fixture
def in_influxdb(influxdb) -> InfluxCharts:
    bucket = influxdb.create_database("charts")
    InfluxReadingsStore(influxdb.url, influxdb.token, influxdb.org, bucket).write(points())
    return InfluxCharts(influxdb.url, influxdb.token, bucket)


@pytest.fixture(params=["in_postgres", "in_influxdb"])
def charts(request):
    return request.getfixturevalue(request.param)


def test_a_series_has_the_mean_and_the_range_of_each_step(charts):
    steps = charts.steps(Series(1, NAME, "V"), START, START + timedelta(minutes=2), 60)
    minute = round(START.timestamp())
    assert [(each.time, each.mean, each.low, each.high) for each in steps] == [
        (minute, 101.0, 100.0, 102.0),
        (minute + 60, 104.0, 103.0, 105.0),
    ]


def test_a_series_without_a_unit_is_another_one_than_that_with_the_unit(charts):
    assert len(charts.steps(Series(2, NAME, None), START, START + timedelta(seconds=20), 60)) == 1
    assert not charts.steps(Series(2, NAME, "A"), START, START + timedelta(minutes=2), 60)
    assert not charts.steps(Series(3, NAME, "V"), START, START + timedelta(minutes=2), 60)


def test_the_failed_polls_come_newest_first(charts):
    failed = charts.failed_polls(1, START, 10)
    assert [each.error for each in failed] == ["refused", "no reply"]
    assert failed[0].time == START + timedelta(seconds=40)
    assert [each.error for each in charts.failed_polls(1, START, 1)] == ["refused"]
    assert not charts.failed_polls(2, START, 10)


def test_the_latest_values_are_those_of_the_wanted_meters(charts):
    rows = list(charts.latest([2, 9], START).readings.rows())
    assert {(row["id"], row["measurement"], row["unit"], row["value"]) for row in rows} == {
        (2, NAME, "V", 205.0),
        (2, NAME, None, 205.0),
    }
    assert {row["time"] for row in rows} == {ms(START + timedelta(seconds=100))}
    assert not len(charts.latest([1], START + timedelta(hours=1)))


def test_a_store_that_does_not_answer_is_an_error_without_the_token():
    charts = InfluxCharts("http://127.0.0.1:1", "secret-token", "emm")
    with pytest.raises(StoreError, match="does not answer") as caught:
        charts.failed_polls(1, START, 1)
    assert "secret-token" not in str(caught.value)
