from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, text
from support.clock import Clock
from support.dagster_ui import wait_for
from support.frames import NOON, NOON_MS, points, poll, reading, readings, rejected_rows, write
from support.frames import rows as rows_of
from support.postgres import administrate

from emm_pipeline.config_db.engine import create_config_engine
from emm_pipeline.errors import StoreAccessError, StoreError
from emm_pipeline.readings import READING_COLUMNS
from emm_pipeline.stores.postgresql import store as store_module
from emm_pipeline.stores.postgresql.store import BATCH_ROWS, PostgresReadingsStore

NOTHING = readings()


@pytest.fixture
def store(config_engine):
    return PostgresReadingsStore(config_engine)


@pytest.fixture
def rows(config_engine):
    def select(query):
        with config_engine.connect() as connection:
            return [dict(row) for row in connection.execute(text(query)).mappings()]

    return select


def count(rows, table="readings"):
    return rows(f"SELECT count(*) FROM {table}")[0]["count"]


def test_a_reading_is_stored_with_its_time_meter_measurement_and_unit(store, rows):
    write(store, readings(reading()), [])
    assert rows("SELECT * FROM readings") == [reading()]


def test_a_poll_is_stored_with_its_result(store, rows):
    write(store, NOTHING, [poll(), poll(id=2, ok=False, error="no reply", description=None, latency_ms=float("nan"))])
    good, failed = rows("SELECT * FROM emm_poll ORDER BY id")
    assert good == {
        "time": NOON,
        "id": 1,
        "description": "example",
        "ok": True,
        "latency_ms": 12.5,
        "requests": 2,
        "points": 7,
        "error": None,
        "status": None,
    }
    assert (failed["ok"], failed["error"], failed["latency_ms"]) == (False, "no reply", None)


@pytest.mark.parametrize("missing", [None, "", float("nan")])
def test_a_missing_description_or_unit_is_null(store, rows, missing):
    write(store, readings(reading(description=missing, unit=missing)), [])
    assert rows("SELECT * FROM readings") == [reading(description=None, unit=None)]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_a_finite_number_is_never_written(store, rows, value):
    write(store, readings(reading(value=value), reading(id=2)), [])
    assert [row["id"] for row in rows("SELECT id FROM readings")] == [2]


@pytest.mark.parametrize("value", [-0.1, 0.0, 5e-324, 1.7976931348623157e308, 1e22, 0.1 + 0.2, 1 / 3, 2**53 + 2])
def test_a_value_is_stored_to_its_last_digit(store, rows, value):
    write(store, readings(reading(value=value)), [])
    assert rows("SELECT value FROM readings")[0]["value"] == value


def test_writing_a_batch_twice_leaves_the_same_rows_with_the_last_values(store, rows):
    for value in (1.0, 2.0):
        write(store, readings(reading(value=value), reading(unit=None, value=value)), [poll(points=int(value))])
    assert [row["value"] for row in rows("SELECT value FROM readings")] == [2.0, 2.0]
    assert [row["points"] for row in rows("SELECT points FROM emm_poll")] == [2]


def test_of_several_points_with_one_key_in_a_batch_the_last_is_stored(store, rows):
    write(
        store, readings(reading(value=1), reading(value=2), reading(unit="", value=3)), [poll(points=1), poll(points=2)]
    )
    assert rows("SELECT unit, value FROM readings ORDER BY value") == [
        {"unit": "V", "value": 2.0},
        {"unit": None, "value": 3.0},
    ]
    assert [row["points"] for row in rows("SELECT points FROM emm_poll")] == [2]


@pytest.mark.parametrize("number", [BATCH_ROWS - 1, BATCH_ROWS, BATCH_ROWS + 1])
def test_every_row_of_more_than_one_batch_is_stored(store, rows, number):
    write(store, readings(*(reading(time=NOON + timedelta(milliseconds=n), value=n) for n in range(number))), [])
    assert rows("SELECT count(*), sum(value), max(time) FROM readings") == [
        {"count": number, "sum": sum(range(number)), "max": NOON + timedelta(milliseconds=number - 1)}
    ]


def test_writing_no_points_does_not_contact_the_server():
    engine = create_config_engine("postgresql+psycopg2://stranger@127.0.0.1:1/nowhere")
    write(PostgresReadingsStore(engine), NOTHING, [])


TEXTS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0\n\\\t#"), min_size=1, max_size=12
) | st.text(",= .\r\"'a", min_size=1, max_size=12)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=200))
def test_any_text_is_read_back_as_given(config_engine, store, rows, texts):
    given_rows = [
        reading(id=number, measurement=measurement, unit=unit, description=description)
        for number, (measurement, unit, description) in enumerate(texts)
    ]
    with config_engine.begin() as connection:
        connection.execute(text("TRUNCATE readings"))
    write(store, readings(*given_rows), [])
    assert rows("SELECT * FROM readings ORDER BY id") == given_rows


def test_rows_that_the_database_rejects_do_not_affect_others(store, rows):
    good = [reading(time=NOON + timedelta(seconds=n)) for n in range(100)]
    # too long for an index of PostgreSQL, even compressed
    too_long = reading(id=2, measurement="".join(chr(0x4E00 + n * 7919 % 20_000) for n in range(6_000)))
    no_integer = reading(id=2**40)
    rejected = write(store, readings(*good[:50], too_long, no_integer, *good[50:]), [poll()])
    assert rejected_rows(rejected) == rows_of(points(readings(too_long, no_integer)))
    assert all(each.reason.isprintable() for each in rejected)
    assert count(rows) == 100
    assert count(rows, "emm_poll") == 1


def test_a_locked_table_does_not_delay_a_poll_beyond_its_time(store, config_engine, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(store_module, "time", SimpleNamespace(monotonic=clock.monotonic))
    monkeypatch.setattr(store_module, "STATEMENT_TIMEOUT_S", 120)
    with ThreadPoolExecutor() as thread:
        with config_engine.begin() as other:
            other.execute(text("LOCK readings"))
            writing = thread.submit(store.write, points(readings(reading())), until=clock.monotonic() + 0.3)
            ended, _ = wait([writing], timeout=60)
        # without the lock it ends in any case: a test that fails instead of one that hangs
        assert writing in ended, "it waited until the lock was released"
        with pytest.raises(StoreError, match="statement timeout"):
            writing.result()


def test_a_statement_that_no_poll_limits_has_a_limit_of_its_own(store, rows, monkeypatch):
    monkeypatch.setattr(store_module, "STATEMENT_TIMEOUT_S", 12.3)
    limits = []

    @event.listens_for(store._engine, "after_cursor_execute")
    def note(connection, _, statement, *__):
        if statement.startswith("INSERT"):
            limits.append(connection.exec_driver_sql("SHOW statement_timeout").scalar())

    write(store, readings(reading()), [poll()])
    assert limits == ["12300ms", "12300ms"]


def test_missing_tables_are_named_with_what_to_do(empty_database):
    store = PostgresReadingsStore(empty_database)
    for attempt in (store.ping, store.latest, lambda: write(store, readings(reading()), [])):
        with pytest.raises(StoreAccessError, match="emm db upgrade"):
            attempt()


def test_a_port_on_which_no_server_listens_is_reported_without_the_password():
    store = PostgresReadingsStore(create_config_engine("postgresql+psycopg2://emm:geheim@127.0.0.1:1/emm"))
    for attempt in (store.ping, store.latest, lambda: write(store, readings(reading()), [])):
        with pytest.raises(StoreError, match=r"127.0.0.1:1/emm.*is PostgreSQL running") as caught:
            attempt()
        assert str(caught.value).isprintable()
        assert "geheim" not in str(caught.value)


def test_a_database_that_does_not_exist_is_named(postgres):
    store = PostgresReadingsStore(create_config_engine(postgres.url("absent")))
    with pytest.raises(StoreError, match='"absent" does not exist'):
        store.ping()


def test_the_same_store_works_again_after_its_connections_were_cut(postgres, store, config_url, rows):
    write(store, readings(reading()), [])
    administrate(
        postgres, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{config_url.database}'"
    )
    store.ping()
    write(store, readings(reading(id=2)), [])
    assert count(rows) == 2


def test_ping_succeeds_with_a_database_that_has_the_tables(store):
    store.ping()


def test_latest_has_the_last_point_of_each_meter_measurement_and_unit(store):
    write(
        store,
        readings(
            reading(value=1),
            reading(value=2, time=NOON + timedelta(seconds=1)),
            reading(value=3, measurement="voltageL2", unit=None),
            reading(value=4, id=2),
        ),
        [],
    )
    latest = store.latest()
    assert tuple(latest.columns) == READING_COLUMNS
    assert latest["value"].tolist() == [2.0, 3.0, 4.0]
    assert latest["time"].to_numpy("datetime64[ms]").astype(int).tolist() == [NOON_MS + 1000, NOON_MS, NOON_MS]
    assert latest["unit"].tolist() == ["V", None, "V"]
    assert len(store.latest(limit=1)) == 1


def test_the_last_points_are_found_without_reading_all_others(store, config_engine, rows):
    """`emm demo` sends this query each second, and its table only grows."""
    frame = readings(
        *(reading(time=NOON + timedelta(seconds=n), measurement=f"m{n % 3}", value=n) for n in range(3000))
    )
    write(store, frame)
    with config_engine.begin() as connection:
        connection.execute(text("ANALYZE readings"))
    read = "SELECT pg_stat_get_tuples_returned(oid) AS n FROM pg_class WHERE relname LIKE 'readings%' ORDER BY relname"
    before = [row["n"] for row in rows(read)]
    assert store.latest()["value"].tolist() == [2997.0, 2998.0, 2999.0]
    store.close()  # a session's statistics are counted when it ends
    wait_for("the statistics", lambda: [row["n"] for row in rows(read)] != before)
    assert sum(row["n"] for row in rows(read)) - sum(before) < 100


def test_without_readings_latest_is_an_empty_frame(store):
    assert tuple(store.latest().columns) == READING_COLUMNS
    assert store.latest().empty
