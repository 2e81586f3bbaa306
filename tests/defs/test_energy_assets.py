"""The energy assets: a real PostgreSQL as store and Dagster storage, and readings of a meter around a month's end."""

import math
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from dagster import (
    AssetKey,
    DagsterEventType,
    DagsterRunStatus,
    DefaultSensorStatus,
    RunRequest,
    build_sensor_context,
)
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from emm_pipeline.config_db.device_state.energy_state import LATE, load_recomputations, note_recomputation, save_begin
from emm_pipeline.dagster_ext.run_history import prune_runs
from emm_pipeline.defs import prune
from emm_pipeline.defs.energy import DAILY, HOURLY, MONTHLY, automation_sensor
from emm_pipeline.defs.energy_again import build_energy_again_sensor
from emm_pipeline.defs.energy_partitions import first_day, time_partitions
from emm_pipeline.defs.partitions import METER_READINGS, METERS
from emm_pipeline.defs.runs import ENERGY_JOB, partitions_in_flight
from emm_pipeline.opening import open_delivery
from emm_pipeline.settings import current_settings
from emm_pipeline.stores.points import PointBatch

BERLIN = ZoneInfo("Europe/Berlin")
BEGIN = datetime(2026, 3, 28, 12, tzinfo=BERLIN)
"""The clocks are set forward on the next day."""


@pytest.fixture
def readings(pipeline, monkeypatch):
    """Read meter 1 each ten minutes for four days, with 6 kW: 1 kWh between two readings."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    monkeypatch.setenv("INFLUX_UPDATER_CRON_MINUTE_TRIGGER", "*/10")
    current_settings.cache_clear()
    pipeline.sql("INSERT INTO registers VALUES ('counted', 0, 'importActiveEnergy', 'kWh', 5, 4, 2, 2)")
    pipeline.sql("INSERT INTO energy_meters VALUES (1, '127.0.0.1', 5020, 1, 'counted', 'mains')")
    pipeline.sql(
        """INSERT INTO readings SELECT time, 1, 'mains', 'importActiveEnergy', 'kWh', 1000 + number - 1
        FROM generate_series(CAST(:begin AS timestamptz), :end, interval '10 minutes')
        WITH ORDINALITY AS every(time, number)""",
        begin=BEGIN,
        end=BEGIN + timedelta(days=4),
    )
    save_begin(pipeline.engine, date(2026, 3, 1))
    return pipeline


def materialize(pipeline, asset, first, last=None, **tags):
    """Execute a run over a range of partitions, as a backfill does."""
    job = pipeline.definitions.resolve_implicit_global_asset_job_def()
    range_tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last or first}
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    result = job.execute_in_process(
        instance=pipeline.instance, asset_selection=[AssetKey(asset)], tags=range_tags | tags, run_config=quiet
    )
    assert result.success
    return result


def energies(pipeline, period):
    rows = pipeline.sql(f"SELECT * FROM emm_energy WHERE period = '{period}' ORDER BY time")
    return {f"{row.time.astimezone(BERLIN):%m-%d %H}": row.energy for row in rows}


def test_hours_days_and_months_have_the_energy_that_flowed_and_a_backfill_gives_it_again(readings):
    for _ in range(2):
        materialize(readings, HOURLY, "2026-03-28-00:00", "2026-04-01-23:00")
        hours = energies(readings, "hour")
        assert hours.pop("04-01 12") == 0.0, "the hour of the last reading"
        assert len(hours) == 95, "from 12:00 to 12:00, over a day of 23 hours"
        assert set(hours.values()) == {6.0}
        materialize(readings, DAILY, "2026-03-28", "2026-04-01")
        days = {"03-28 00": 72.0, "03-29 00": 138.0, "03-30 00": 144.0, "03-31 00": 144.0, "04-01 00": 72.0}
        assert energies(readings, "day") == days
        materialize(readings, MONTHLY, "2026-03-01")
        assert energies(readings, "month") == {"03-01 00": 72.0 + 138.0 + 2 * 144.0}
    keys = readings.instance.get_materialized_partitions(AssetKey(HOURLY))
    assert {"2026-03-29-01:00", "2026-03-29-03:00"} < keys
    assert "2026-03-29-02:00" not in keys


def test_an_hour_shows_its_numbers_and_checks(readings):
    readings.sql("UPDATE energy_meters SET max_power_w = 5000")
    result = materialize(readings, HOURLY, "2026-03-30-10:00")
    (event,) = readings.events(result, DagsterEventType.ASSET_MATERIALIZATION)
    shown = {name: value.value for name, value in event.materialization.metadata.items()}
    assert shown["imported energy (kWh)"] == 6.0
    assert (shown["meters"], shown["lowest coverage (%)"], shown["readings"]) == (1, 100.0, 6)
    checks = {each.check_name: each for each in result.get_asset_check_evaluations()}
    assert {name for name, each in checks.items() if not each.passed} == {"power_within_limit"}
    (row,) = checks["power_within_limit"].metadata["intervals"].records
    assert row.data["reason"] == "6 kW on average; max_power_w is 5000"
    assert row.data["time"] == "2026-03-30 10:00"


def test_the_cost_of_a_month_is_that_of_its_energy_and_the_base_price(readings):
    readings.sql("UPDATE energy_meters SET tariff = 'house'")
    readings.sql(
        "INSERT INTO tariffs (name, valid_from, price_per_kwh, base_price_per_month)"
        " VALUES ('house', '2026-01-01', 0.3, 10)"
    )
    readings.sql("INSERT INTO tariffs (name, valid_from, price_per_kwh) VALUES ('house', '2026-03-30', 0.5)")
    materialize(readings, HOURLY, "2026-03-28-00:00", "2026-04-01-23:00")
    materialize(readings, DAILY, "2026-03-28", "2026-04-01")
    materialize(readings, MONTHLY, "2026-03-01")
    (row,) = readings.sql("SELECT cost FROM emm_energy WHERE period = 'month'")
    assert row.cost == pytest.approx(0.3 * (72 + 138) + 0.5 * 288 + 10 * 29 / 31, abs=1e-5)


def again(pipeline):
    """Evaluate the sensor, and execute what it asks for, until it asks for nothing; return the ranges."""
    ranges = []
    for _ in range(5):
        sensor = build_energy_again_sensor(time_partitions(current_settings()).hours)
        asked = sensor(build_sensor_context(pipeline.instance))
        requests = [
            each for each in ([asked] if isinstance(asked, RunRequest) else list(asked)) if isinstance(each, RunRequest)
        ]
        if not requests:
            return ranges
        for request in requests:
            ranges.append((request.tags[RANGE_START], request.tags[RANGE_END]))
            assert pipeline.run("energy_again", tags=dict(request.tags)).success
    raise AssertionError(f"it does not come to rest: {ranges}")


RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def test_late_readings_correct_the_hours_that_they_touch(readings):
    begin, end = "2026-03-30 08:15+02", "2026-03-30 10:45+02"
    readings.sql("CREATE TABLE late AS SELECT * FROM readings WHERE time BETWEEN :begin AND :end", begin=begin, end=end)
    readings.sql("DELETE FROM readings WHERE time BETWEEN :begin AND :end", begin=begin, end=end)
    materialize(readings, HOURLY, "2026-03-28-00:00", "2026-04-01-23:00")
    flagged = "SELECT count(*) AS hours FROM emm_energy WHERE flags LIKE '%estimated%'"
    assert readings.sql(flagged)[0].hours == 3
    assert again(readings) == []

    with open_delivery(current_settings()) as delivery:
        rows = [
            row._asdict() | {"time": round(row.time.timestamp() * 1000)} for row in readings.sql("SELECT * FROM late")
        ]
        batch = delivery.put(PointBatch.of(rows), datetime.now(UTC), "late")
        assert delivery.load(batch, until=math.inf).problems == ()
    ranges = again(readings)
    assert ranges[0] == ("2026-03-30-08:00", "2026-03-30-10:00")
    assert readings.sql(flagged)[0].hours == 0
    assert load_recomputations(readings.engine) == []


def test_an_hour_without_a_reading_after_it_is_completed_once_there_is_one(readings):
    readings.sql("DELETE FROM readings WHERE time > '2026-03-30 08:35+02' AND time < '2026-03-30 10:55+02'")
    readings.sql("CREATE TABLE later AS SELECT * FROM readings WHERE time > '2026-03-30 09:00+02'")
    readings.sql("DELETE FROM readings WHERE time > '2026-03-30 09:00+02'")
    materialize(readings, HOURLY, "2026-03-30-08:00")
    assert energies(readings, "hour") == {"03-30 08": 3.0}
    materialize(readings, HOURLY, "2026-03-30-09:00")
    readings.sql("INSERT INTO readings SELECT * FROM later")
    materialize(readings, HOURLY, "2026-03-30-10:00")
    ((first, last),) = again(readings)
    assert first <= "2026-03-30-08:00"  # the windows of hours before it also contain the new readings
    assert last == "2026-03-30-09:00"
    found = energies(readings, "hour")
    assert {key: round(found[key], 3) for key in ("03-30 08", "03-30 09", "03-30 10")} == {
        "03-30 08": 6.0,
        "03-30 09": 6.0,
        "03-30 10": 6.0,
    }


def test_an_hour_that_has_not_ended_is_not_computed_for_its_late_readings(readings):
    now = datetime.now(UTC)
    note_recomputation(readings.engine, now, now + timedelta(minutes=15), LATE)
    assert again(readings) == []
    assert load_recomputations(readings.engine) == []


def test_the_partitions_begin_with_the_month_of_the_first_reading(readings):
    readings.sql("DELETE FROM energy_begin")
    assert first_day(current_settings()) == date(2026, 3, 1)
    assert [row.day for row in readings.sql("SELECT day FROM energy_begin")] == [date(2026, 3, 1)]
    readings.sql("DELETE FROM readings")
    readings.sql("DELETE FROM energy_begin")
    yesterday = datetime.now(BERLIN).date() - timedelta(days=1)
    assert first_day(current_settings()) == yesterday.replace(day=1)
    assert readings.sql("SELECT day FROM energy_begin") == []


def test_a_pruned_run_leaves_its_hours_materialized(readings):
    materialize(readings, HOURLY, "2026-03-30-08:00", "2026-03-30-10:00")
    materialize(readings, HOURLY, "2026-03-30-10:00")
    pruned = prune_runs(
        readings.instance,
        datetime.now(UTC) + timedelta(hours=1),
        timedelta(minutes=1),
        asset=METER_READINGS,
        partitions=str(METERS.name),
        by_time=[AssetKey(HOURLY)],
    )
    assert pruned.deleted == 2
    assert readings.instance.get_materialized_partitions(AssetKey(HOURLY)) == {
        f"2026-03-30-{hour}:00" for hour in ("08", "09", "10")
    }
    assert readings.instance.get_runs() == []


def test_old_readings_are_deleted_once_a_day_and_energies_are_kept(readings, monkeypatch):
    materialize(readings, HOURLY, "2026-03-28-00:00", "2026-04-01-23:00")
    monkeypatch.setenv("READINGS_RETENTION_DAYS", "2")
    monkeypatch.setattr(prune, "READINGS_DELETED_AT", datetime.now(BERLIN).hour)
    current_settings.cache_clear()
    assert readings.run("prune").success
    assert readings.sql("SELECT count(*) AS rows FROM readings")[0].rows == 0
    materialize(readings, HOURLY, "2026-03-28-00:00", "2026-04-01-23:00")
    assert sum(energies(readings, "hour").values()) == 95 * 6.0


def test_the_sensors_are_on_from_the_start():
    assert automation_sensor().default_status is DefaultSensorStatus.RUNNING
    hours = time_partitions(current_settings()).hours
    assert build_energy_again_sensor(hours).default_status is DefaultSensorStatus.RUNNING


def test_runs_and_backfills_over_hours_do_not_delay_the_removal_of_a_meter(readings):
    job = readings.definitions.resolve_job_def(ENERGY_JOB)
    tags = {RANGE_START: "2026-03-30-08:00", RANGE_END: "2026-03-30-10:00"}
    readings.instance.create_run_for_job(job, tags=tags, status=DagsterRunStatus.STARTED)
    readings.instance.add_backfill(backfill_of(HOURLY))
    assert partitions_in_flight(readings.instance, METER_READINGS, {"1"}) == set()
    readings.instance.add_backfill(backfill_of("meter_readings"))
    assert partitions_in_flight(readings.instance, METER_READINGS, {"1"}) == {"1"}


def backfill_of(asset: str) -> PartitionBackfill:
    return PartitionBackfill(
        backfill_id=asset,
        status=BulkActionStatus.REQUESTED,
        from_failure=False,
        tags={},
        backfill_timestamp=datetime.now(UTC).timestamp(),
        asset_selection=[AssetKey(asset)],
    )
