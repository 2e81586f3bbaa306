"""Dagster's storage: its connections, and its times if PostgreSQL's time zone is not UTC."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from dagster import DagsterInstance, DagsterRunStatus
from dagster._core.scheduler.instigation import InstigatorType, TickData, TickStatus
from dagster._core.test_utils import create_run_for_test
from sqlalchemy import create_engine, event, text

from emm_pipeline.dagster_ext.run_history import prune_runs
from emm_pipeline.defs.partitions import METER_READINGS, METERS
from emm_pipeline.settings import current_settings

TOLERANCE = timedelta(minutes=10)
"""Less than the difference of any two time zones."""


@pytest.fixture(params=["Europe/Warsaw", "America/New_York", "UTC"])
def instance(pipeline, request) -> Iterator[DagsterInstance]:
    """An instance whose database has another time zone."""
    url = current_settings().dagster_database_url
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(f"ALTER DATABASE \"{url.database}\" SET timezone = '{request.param}'"))
    engine.dispose()
    with DagsterInstance.get() as instance:
        yield instance


def test_a_run_was_created_and_changed_now(instance):
    run = create_run_for_test(instance, status=DagsterRunStatus.SUCCESS)
    record = instance.get_run_record_by_id(run.run_id)
    now = datetime.now(UTC)
    assert abs(now - record.create_timestamp) < TOLERANCE
    assert abs(now - record.update_timestamp) < TOLERANCE


@pytest.mark.parametrize(("age", "left"), [(timedelta(minutes=70), 0), (timedelta(minutes=50), 1)])
def test_a_run_is_pruned_an_hour_after_its_end(instance, age, left):
    create_run_for_test(instance, status=DagsterRunStatus.SUCCESS)
    with instance.event_log_storage.index_connection() as connection:
        connection.execute(text("UPDATE runs SET update_timestamp = update_timestamp - :age"), {"age": age})
    before = datetime.now(UTC) - timedelta(hours=1)
    prune_runs(instance, before, timedelta(minutes=1), asset=METER_READINGS, partitions=str(METERS.name))
    assert len(instance.get_run_ids()) == left


@pytest.mark.parametrize(("early_s", "duration_s"), [(2, 0), (-3, 3)])
def test_a_tick_that_was_evaluated_before_its_time_has_no_negative_duration(pipeline, early_s, duration_s):
    due = datetime.now(UTC).timestamp()
    data = TickData("origin", "poll_schedule", InstigatorType.SCHEDULE, TickStatus.STARTED, due, selector_id="selector")
    with DagsterInstance.get() as instance:
        tick = instance.create_tick(data)
        ended = tick.tick_data.with_status(TickStatus.SUCCESS, end_timestamp=due - early_s)
        instance.update_tick(tick._replace(tick_data=ended))
        (stored,) = instance.get_ticks("origin", "selector")
    assert (stored.status, stored.timestamp) == (TickStatus.SUCCESS, due)
    assert stored.end_timestamp - due == pytest.approx(duration_s)


def test_dagster_looks_up_only_once_whether_its_tables_are_up_to_date(pipeline):
    def statements(instance: DagsterInstance) -> list[str]:
        sent: list[str] = []
        note = lambda *arguments: sent.append(arguments[2])  # noqa: E731
        with instance.run_storage.connect() as connection:
            engine = connection.engine
        event.listen(engine, "before_cursor_execute", note)
        instance.all_instigator_state()
        instance.get_run_records(limit=1)
        event.remove(engine, "before_cursor_execute", note)
        return sent

    statements(DagsterInstance.get())
    sent = statements(DagsterInstance.get())
    assert len(sent) == 2, sent


def test_instances_opened_one_after_another_share_their_connections(pipeline):
    kept = []  # as Python keeps them until it collects garbage
    for _ in range(10):
        kept.append(DagsterInstance.get())
        assert kept[-1].get_runs_count() == 0
    with kept[0].run_storage.connect() as connection:
        open_ = connection.execute(
            text(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name = 'emm dagster'"
            )
        ).scalar_one()
    assert open_ == 1


def test_a_connection_that_postgresql_has_ended_is_replaced_before_the_next_statement(pipeline):
    instance = DagsterInstance.get()
    assert instance.get_runs_count() == 0
    engine = create_engine(current_settings().dagster_database_url)
    with engine.begin() as connection:
        ended = connection.execute(
            text(
                "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name = 'emm dagster'"
            )
        )
        assert set(ended.scalars()) == {True}
    engine.dispose()
    assert instance.get_runs_count() == 0
