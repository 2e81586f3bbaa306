"""Delivery of points: none is lost if the store is unavailable, slow, or rejects some; none is stored twice."""

import contextlib
import threading
import time
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from types import SimpleNamespace

import pytest
from support.clock import Clock
from support.dagster_ui import wait_for
from support.frames import NOON, join, points, poll, reading, readings, rejected_rows, rows

from emm_pipeline.errors import OutboxError, StoreAccessError, StoreError
from emm_pipeline.stores import delivery as delivery_module
from emm_pipeline.stores.base import RejectedPoints
from emm_pipeline.stores.delivery import Delivery, Loaded
from emm_pipeline.stores.influxdb.store import InfluxReadingsStore
from emm_pipeline.stores.outbox.folder import Outbox
from emm_pipeline.stores.postgresql.store import PostgresReadingsStore

POINTS = points(readings(reading(), reading(id=2)), [poll()])
ROWS = rows(POINTS)
AWAY = StoreError("InfluxDB is unavailable")


class ScriptedStore:
    """Answers each write with the next of its answers, and with success when none are left."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.written = []
        self.attempts = 0

    def write(self, written, *, until=None):
        self.attempts += 1
        answer = self.answers.pop(0) if self.answers else []
        if isinstance(answer, Exception):
            raise answer
        self.written += [row for row in rows(written) if row not in rejected_rows(answer)]
        return answer

    def ping(self):
        pass

    def close(self):
        pass


@pytest.fixture
def outbox(tmp_path):
    return Outbox(tmp_path / "outbox", 10**9)


@pytest.fixture
def impatient(monkeypatch):
    """Make the time limit allow only one attempt."""
    monkeypatch.setattr(delivery_module, "LEAST_TIME_S", 0.4)


@pytest.fixture
def clock(monkeypatch):
    """A clock for pauses and time limits, which advances only by the pauses."""
    clock = Clock()
    monkeypatch.setattr(delivery_module, "time", SimpleNamespace(monotonic=clock.monotonic, sleep=clock.sleep))
    return clock


def deliver(store, outbox, minute=0, seconds=60.0, batch=POINTS):
    delivery = Delivery(store, outbox)
    put = delivery.put(batch, NOON + timedelta(minutes=minute), "run")
    return delivery.load(put, until=delivery_module.time.monotonic() + seconds)


def test_stored_points_are_removed_from_the_outbox(outbox):
    store = ScriptedStore()
    loaded = deliver(store, outbox)
    assert (loaded.problems, loaded.rejected, loaded.lost) == ((), [], False)
    assert store.written == ROWS
    assert outbox.names() == []


def test_a_batch_is_in_the_outbox_and_locked_before_the_store_is_contacted(outbox):
    seen = []

    class Store(ScriptedStore):
        def write(self, written, *, until=None):
            seen.append((outbox.names(), outbox.has_waiting()))
            return super().write(written)

    deliver(Store(), outbox)
    ((names, waits),) = seen
    assert len(names) == 1
    assert not waits, "no replay takes it meanwhile"


def test_a_store_that_is_unavailable_for_a_moment_is_tried_again_after_growing_pauses(outbox, clock):
    store = ScriptedStore(AWAY, AWAY, AWAY)
    assert deliver(store, outbox).problems == ()
    assert clock.slept == [0.5, 1.0, 2.0]
    assert outbox.names() == []


def test_the_pause_that_a_busy_store_asks_for_is_kept(outbox, clock):
    deliver(ScriptedStore(StoreError("HTTP 429", retry_after_s=7)), outbox)
    assert clock.slept == [7]


@pytest.mark.parametrize(
    ("error", "seconds"),
    [(StoreError("HTTP 503", retry_after_s=3600), 60), (StoreAccessError("HTTP 401: check INFLUXDB_TOKEN"), 60)],
)
def test_an_error_that_no_pause_can_resolve_is_not_tried_again(outbox, clock, error, seconds):
    store = ScriptedStore(error)
    (problem,) = deliver(store, outbox, seconds=seconds).problems
    assert problem == f"{error}; waiting in the outbox: 3 points"
    assert store.attempts == 1
    assert clock.slept == []
    assert outbox.has_waiting()
    assert str(error) in outbox.last_error()


def test_attempts_to_reach_an_unavailable_store_end_before_the_time_limit(outbox, clock):
    store = ScriptedStore(*[AWAY] * 100)
    (problem,) = deliver(store, outbox, seconds=6).problems
    assert clock.slept == [0.5, 1.0, 2.0], "another 4 s would end after it"
    assert store.attempts == 4
    assert "waiting in the outbox: 3 points" in problem


def test_attempts_to_reach_an_unavailable_store_end_after_15_seconds_whatever_the_time_limit(outbox, clock):
    deliver(ScriptedStore(*[AWAY] * 100), outbox, seconds=60)
    assert clock.slept == [0.5, 1.0, 2.0, 4.0, 4.0]


def test_the_store_is_tried_once_even_after_the_time_limit(outbox):
    store = ScriptedStore()
    assert deliver(store, outbox, seconds=-10).problems == ()
    assert store.written == ROWS


def test_rejected_points_are_kept_in_the_folder_rejected_and_the_others_are_stored(outbox):
    store = ScriptedStore([RejectedPoints(POINTS[1:2], "field type conflict")])
    loaded = deliver(store, outbox)
    assert rejected_rows(loaded.rejected) == [ROWS[1]]
    assert store.written == [ROWS[0], ROWS[2]]
    assert loaded.rejected_by_meter() == {
        2: "the store rejected 1 point (kept in the outbox's folder rejected): field type conflict"
    }
    assert outbox.names() == []
    (file,) = outbox.rejected()
    assert (file.points, file.reason) == (1, "field type conflict")


def test_a_full_outbox_reports_the_lost_points(tmp_path):
    outbox = Outbox(tmp_path, 2 * 4096)
    access = StoreAccessError("HTTP 401")
    for minute in range(2):
        deliver(ScriptedStore(access), outbox, minute)
    oldest = outbox.names()[0]
    full, waits = deliver(ScriptedStore(access), outbox, 2).problems
    assert full == (
        f"the outbox is full (OUTBOX_MAX_MB) and has lost its oldest 1 file with 3 points, from {oldest} to {oldest}"
    )
    assert "waiting in the outbox: 3 points" in waits


def test_without_an_outbox_the_points_still_reach_the_store(tmp_path):
    (tmp_path / "file").touch()
    store = ScriptedStore()
    delivery = Delivery(store, Outbox(tmp_path / "file", 1))
    with pytest.raises(OutboxError, match="OUTBOX_DIR"):
        delivery.put(POINTS, NOON, "run")
    assert delivery.load(POINTS, until=0) == Loaded([])
    assert store.written == ROWS


def test_without_an_outbox_and_without_a_store_the_points_are_lost_and_the_run_says_so(tmp_path):
    delivery = Delivery(ScriptedStore(StoreAccessError("HTTP 401")), Outbox(tmp_path, 1))
    assert delivery.load(POINTS, until=0) == Loaded(problems=("HTTP 401; lost: 3 points",), lost=True)


# In two steps


def test_points_are_on_the_disk_before_the_store_is_contacted_and_can_be_loaded_by_name(outbox):
    reading_step = Delivery(ScriptedStore(AWAY), outbox)
    batch = reading_step.put(POINTS, NOON, "run")
    assert Delivery(ScriptedStore(), outbox).claim(batch.name) is None, "it is held until the first step ends"
    name = batch.name
    batch.close()
    assert reading_step.store.attempts == 0
    store = ScriptedStore()
    loading_step = Delivery(store, outbox)
    loaded = loading_step.load(loading_step.claim(name), until=time.monotonic() + 60)
    assert (loaded.problems, store.written, outbox.names()) == ((), ROWS, [])
    assert loading_step.claim(name) is None, "it is loaded"


def test_a_batch_that_could_not_be_loaded_is_released_for_a_replay(outbox):
    delivery = Delivery(ScriptedStore(StoreAccessError("HTTP 401")), outbox)
    batch = delivery.put(POINTS, NOON, "run")
    assert delivery.load(batch, until=0).problems == ("HTTP 401; waiting in the outbox: 3 points",)
    assert delivery.replay().points == 3


def test_a_batch_that_a_replay_has_loaded_cannot_be_claimed(outbox):
    delivery = Delivery(ScriptedStore(), outbox)
    with delivery.put(POINTS, NOON, "run") as batch:
        pass
    assert delivery.replay().points == 3
    assert delivery.claim(batch.name) is None


def test_a_batch_that_is_damaged_before_it_is_loaded_is_set_aside_and_reported_as_lost(outbox):
    delivery = Delivery(ScriptedStore(), outbox)
    with delivery.put(POINTS, NOON, "run") as batch:
        (outbox.folder / batch.name).write_bytes(b"damaged")
    loaded = delivery.load(delivery.claim(batch.name), until=0)
    assert loaded.lost
    assert batch.name in loaded.problems[0]
    assert [file.name for file in outbox.rejected()] == [f"{batch.name}.damaged"]


# Replay


def fill(outbox, minutes):
    batches = [points(readings(reading(time=NOON + timedelta(minutes=m), value=m))) for m in range(minutes)]
    for minute, batch in enumerate(batches):
        deliver(ScriptedStore(StoreAccessError("HTTP 401")), outbox, minute, batch=batch)
    return rows(join(batches))


def test_a_replay_loads_the_oldest_first(outbox):
    expected = fill(outbox, 5)
    store = ScriptedStore()
    done = Delivery(store, outbox).replay()
    assert store.written == expected
    assert (done.files, done.points, done.problems) == (5, 5, [])
    assert outbox.names() == []


def test_a_replay_stops_when_the_store_is_unavailable_and_the_next_one_continues_there(outbox):
    expected = fill(outbox, 4)
    store = ScriptedStore([], AWAY)
    done = Delivery(store, outbox).replay()
    assert (done.files, store.attempts) == (1, 2)
    assert done.problems == ["InfluxDB is unavailable; the rest waits in the outbox"]
    assert len(outbox.names()) == 3
    Delivery(store, outbox).replay()
    assert store.written == expected


def test_a_damaged_file_does_not_stop_others_from_being_loaded(outbox):
    expected = fill(outbox, 3)
    name = outbox.names()[1]
    (outbox.folder / name).write_bytes(b"damaged")
    store = ScriptedStore()
    done = Delivery(store, outbox).replay()
    assert store.written == [expected[0], expected[2]]
    assert name in done.problems[0]
    assert outbox.names() == []


def test_a_replay_skips_batches_that_a_poll_is_loading(outbox):
    with outbox.put(POINTS, NOON, "poll"):
        store = ScriptedStore()
        done = Delivery(store, outbox).replay()
        assert (done.busy, done.files, store.attempts) == (1, 0, 0)


def test_two_replays_at_once_load_each_file_once(outbox):
    expected = fill(outbox, 60)
    store = ScriptedStore()
    start = threading.Barrier(2)
    done = []

    def replay():
        start.wait()
        done.append(Delivery(store, outbox).replay())

    threads = [threading.Thread(target=replay) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(store.written, key=itemgetter("time")) == expected
    assert sum(one.files for one in done) == 60


def test_points_that_a_store_rejects_at_a_replay_are_named(outbox):
    fill(outbox, 2)
    done = Delivery(
        ScriptedStore([RejectedPoints(points(readings(reading(value=0))), "beyond retention policy")]), outbox
    ).replay()
    assert done.problems == ["the store rejected 1 point, kept in the folder rejected: beyond retention policy"]
    assert (done.files, done.points) == (2, 1)


# With the real stores


def test_an_outage_of_influxdb_neither_loses_nor_duplicates_points(influxdb, outbox, impatient):
    bucket = influxdb.create_database("outage")
    now = datetime.now(UTC).replace(microsecond=0)
    with contextlib.closing(InfluxReadingsStore(influxdb.url, influxdb.token, influxdb.org, bucket)) as store:
        way = Delivery(store, outbox)
        influxdb.kill()
        try:
            for second in range(3):
                batch = points(readings(reading(time=now + timedelta(seconds=second), value=second)))
                put = way.put(batch, now + timedelta(seconds=second), "run")
                loaded = way.load(put, until=0)
                assert "HTTP 502" in loaded.problems[0]
            assert way.replay().files == 0
        finally:
            influxdb.start()
        wait_for("InfluxDB to take writes", lambda: not ping_fails(store))
        assert way.replay().files == 3
    stored = influxdb.query("SELECT value FROM voltageL1", bucket)
    assert [(row["time"], row["value"]) for row in stored] == [
        (int(now.timestamp() + second) * 1000, second) for second in range(3)
    ]


def ping_fails(store):
    try:
        store.ping()
    except StoreError as err:
        return err
    return None


def test_a_batch_that_was_stored_and_not_acknowledged_is_stored_once(config_engine, outbox):
    store = PostgresReadingsStore(config_engine)

    class AnswerLost(ScriptedStore):
        def write(self, written, *, until=None):
            store.write(written)
            raise StoreAccessError("the answer was lost")

    assert "waiting in the outbox" in deliver(AnswerLost(), outbox).problems[0]
    assert Delivery(store, outbox).replay().problems == []
    with config_engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM readings").scalar() == 2
        assert connection.exec_driver_sql("SELECT count(*) FROM emm_poll").scalar() == 1


def test_a_postgresql_that_is_unavailable_is_replayed_too(postgres, config_engine, outbox, impatient):
    way = Delivery(PostgresReadingsStore(config_engine), outbox)
    postgres.stop()
    try:
        assert "is PostgreSQL running" in way.load(way.put(POINTS, NOON, "run"), until=0).problems[0]
    finally:
        postgres.start()
    assert way.replay().points == 3
