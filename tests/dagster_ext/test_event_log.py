"""Dagster's event log: its pages stay fast with many meters, and show the same as with Dagster's own class."""

import json

import pytest
from dagster_postgres import PostgresEventLogStorage
from dagster_shared.record import copy
from dagster_shared.serdes import deserialize_value
from sqlalchemy import create_engine, text
from support.meters import SimulatedUnit

from emm_pipeline.dagster_ext import event_log
from emm_pipeline.defs.partitions import METER_READINGS, METERS
from emm_pipeline.settings import current_settings

PARTITIONS, EVENTS_EACH = 1000, 20

EVENTS = f"""INSERT INTO event_logs (run_id, event, dagster_event_type, timestamp, asset_key, partition)
    SELECT 'run', '', CASE e % 10 WHEN 0 THEN 'ASSET_MATERIALIZATION' ELSE 'STEP_EVENT_' || e % 10 END, now(),
           '["meter_readings"]', CASE e % 10 WHEN 0 THEN p END
      FROM generate_series(1, {10 * EVENTS_EACH}) AS e, generate_series(1, {PARTITIONS}) AS p"""

LATEST = """EXPLAIN (FORMAT JSON) SELECT dagster_event_type, partition, max(id) FROM event_logs
    WHERE asset_key = '["meter_readings"]' AND partition IS NOT NULL
      AND dagster_event_type IN ('ASSET_MATERIALIZATION', 'ASSET_MATERIALIZATION_PLANNED')
    GROUP BY dagster_event_type, partition"""


def test_postgresql_knows_how_many_partitions_the_asset_has(pipeline):
    engine = create_engine(current_settings().dagster_database_url)
    with engine.begin() as connection:
        connection.execute(text(EVENTS))
        connection.execute(text("ANALYZE event_logs"))
        (plan,) = connection.execute(text(LATEST)).scalar_one()
    engine.dispose()
    expected = plan["Plan"]["Plan Rows"]
    assert expected == pytest.approx(PARTITIONS, rel=0.3), json.dumps(plan)


@pytest.fixture
def polled(pipeline, simulated_gateway):
    """The id of a run over ten meters that reply, and one that does not."""
    zeros = {(4, address): 0 for address in range(80)}
    gateway = simulated_gateway({id_: SimulatedUnit(zeros) for id_ in range(1, 11)})
    for id_ in range(1, 12):
        pipeline.add_meter(id_, gateway.port, id_)
    assert pipeline.run("discovery").success
    return pipeline.run("poll").run_id


def test_the_steps_of_a_run_are_those_that_dagster_would_give(pipeline, polled):
    ours = pipeline.instance.event_log_storage
    steps = ours.get_step_stats_for_run(polled)
    assert steps == PostgresEventLogStorage.get_step_stats_for_run(ours, polled)
    report_results = next(step for step in steps if step.step_key.endswith("report_results"))
    assert len(report_results.materialization_events) == 10
    assert ours.get_step_stats_for_run(polled, [report_results.step_key]) == [report_results]


def test_each_event_of_a_run_is_stored_as_dagster_would_store_it(pipeline, polled):
    names = "run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition"
    engine = create_engine(current_settings().dagster_database_url)
    with engine.connect() as connection:
        rows = connection.execute(text(f"SELECT {names} FROM event_logs WHERE run_id = :run"), {"run": polled})
        stored = [dict(row) for row in rows.mappings()]
    engine.dispose()
    assert {"STEP_START", "STEP_SUCCESS", "ASSET_OBSERVATION", None} <= {row["dagster_event_type"] for row in stored}
    storage = pipeline.instance.event_log_storage
    for row in stored:
        insert = PostgresEventLogStorage.prepare_insert_event(storage, deserialize_value(row["event"]))
        expected = insert.compile().params
        assert json.loads(row.pop("event")) == json.loads(expected.pop("event"))
        assert row == expected


def test_the_failed_partitions_are_those_that_dagster_would_give(pipeline, polled):
    ours = pipeline.instance.event_log_storage

    def attempts(storage_class, after=None):
        name = "get_latest_asset_partition_materialization_attempts_without_materializations"
        return getattr(storage_class, name)(ours, METER_READINGS, after)

    failed = attempts(type(ours))
    assert failed == attempts(PostgresEventLogStorage)
    ((partition, (run_id, event_id)),) = failed.items()
    assert (partition, run_id) == ("11", polled)
    for after, expected in ((event_id - 1, failed), (event_id, {})):
        assert attempts(type(ours), after) == attempts(PostgresEventLogStorage, after) == expected
    pipeline.sql("UPDATE energy_meters SET slave_address = 1 WHERE id = 11")
    assert pipeline.run("poll").success
    assert attempts(type(ours)) == attempts(PostgresEventLogStorage) == {}


def test_of_many_materializations_the_steps_have_the_newest(pipeline, polled, monkeypatch):
    monkeypatch.setattr(event_log, "MATERIALIZATIONS_OF_A_RUN", 4)
    ours = pipeline.instance.event_log_storage
    stock = PostgresEventLogStorage.get_step_stats_for_run(ours, polled)
    for step, whole in zip(ours.get_step_stats_for_run(polled), stock, strict=True):
        assert step == copy(whole, materialization_events=whole.materialization_events[-4:])


@pytest.mark.parametrize("keys", [(), ("1",), ("2", "1", "2"), ("1", "it's", 'ä,"{}', "", *map(str, range(3, 2000)))])
def test_the_existing_partitions_are_those_that_dagster_would_give(pipeline, keys):
    ours = pipeline.instance.event_log_storage
    for name, partitions in {METERS.name: ["1", "2", "it's", 'ä,"{}'], "others": ["3"]}.items():
        pipeline.instance.add_dynamic_partitions(name, partitions)
    existing = ours.get_existing_dynamic_partitions(METERS.name, keys)
    assert existing == PostgresEventLogStorage.get_existing_dynamic_partitions(ours, METERS.name, keys)
    assert existing == {"1", "2", "it's", 'ä,"{}'} & set(keys)
