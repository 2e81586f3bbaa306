import contextlib
import http.server
import itertools
import random
import socket
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.clock import Clock
from support.frames import NOON, NOON_MS, points, poll, reading, readings, rejected_rows, rows, write
from support.influxdb import PASSWORD

from emm_pipeline.errors import ConfigurationError, StoreAccessError, StoreError
from emm_pipeline.stores.influxdb import store as store_module
from emm_pipeline.stores.influxdb.store import BATCH_POINTS, InfluxReadingsStore
from emm_pipeline.stores.shaping import shape_points

NOTHING = readings()
numbers = itertools.count()


@pytest.fixture
def bucket(influxdb):
    return influxdb.create_database(f"test_{next(numbers)}")


@pytest.fixture
def open_store(influxdb):
    with contextlib.ExitStack() as stack:

        def opened(bucket=influxdb.bucket, url=influxdb.url, token=influxdb.token, **options):
            return stack.enter_context(
                contextlib.closing(InfluxReadingsStore(url, token, influxdb.org, bucket, **options))
            )

        yield opened


@pytest.fixture
def store(open_store, bucket):
    return open_store(bucket)


@pytest.fixture
def influxdb_away(influxdb):
    influxdb.kill()
    yield
    influxdb.start()


def test_a_reading_has_its_measurement_tags_field_and_time(influxdb, store, bucket):
    write(store, readings(reading()), [])
    assert influxdb.query("SELECT * FROM voltageL1 GROUP BY *", bucket) == [
        {
            "measurement": "voltageL1",
            "id": "1",
            "description": "example",
            "dataunit": "V",
            "time": NOON_MS,
            "value": 230.5,
        }
    ]


def test_a_null_description_and_unit_make_no_tag(influxdb, store, bucket):
    write(store, readings(reading(description=None, unit=None)), [poll(description=None)])
    for measurement in ("voltageL1", "emm_poll"):
        tags = influxdb.query(f"SHOW TAG KEYS FROM {measurement}", bucket)
        assert [tag["tagKey"] for tag in tags] == ["id"]


def test_a_whole_number_is_stored_as_a_float(influxdb, store, bucket):
    write(store, readings(reading(value=230)), [])
    assert influxdb.query("SHOW FIELD KEYS", bucket) == [
        {"measurement": "voltageL1", "fieldKey": "value", "fieldType": "float"}
    ]


@pytest.mark.parametrize("value", [-0.1, 5e-324, 1.7976931348623157e308, 1e22, 0.1 + 0.2, 1 / 3])
def test_a_value_is_stored_to_its_last_digit(influxdb, store, bucket, value):
    write(store, readings(reading(value=value)), [])
    assert influxdb.query("SELECT value FROM voltageL1", bucket)[0]["value"] == value


def test_values_that_are_not_numbers_are_never_written(influxdb, store, bucket):
    write(store, readings(reading(value=float("nan"))), [])
    assert influxdb.query("SHOW MEASUREMENTS", bucket) == []


def test_the_mean_of_ok_is_the_rate_of_success(influxdb, store, bucket):
    polls = [poll(time=NOON + timedelta(seconds=n), ok=n > 0, error=None if n else "no reply") for n in range(4)]
    write(store, NOTHING, polls)
    assert influxdb.query("SELECT mean(ok) FROM emm_poll", bucket)[0]["mean"] == 0.75


def test_a_failed_poll_has_its_reason_as_given(influxdb, store, bucket):
    reason = 'timeout, "unit 7" = C:\\ 100 % ü'
    write(store, NOTHING, [poll(ok=False, error=reason), poll(id=2)])
    rows = influxdb.query("SELECT * FROM emm_poll", bucket)
    assert {row["id"]: row["error"] for row in rows} == {"1": reason, "2": None}
    assert rows[0] | {"latency_ms": 12.5, "requests": 2, "points": 7, "ok": 0} == rows[0]


def test_writing_a_batch_twice_leaves_the_same_points(influxdb, store, bucket):
    frame = readings(*(reading(id=number, time=NOON + timedelta(seconds=number)) for number in range(50)))
    for _ in range(2):
        write(store, frame, [poll()])
    assert influxdb.query("SELECT count(value) FROM voltageL1", bucket)[0]["count"] == 50
    assert influxdb.query("SELECT count(ok) FROM emm_poll", bucket)[0]["count"] == 1


@pytest.mark.parametrize("number", [BATCH_POINTS - 1, BATCH_POINTS, BATCH_POINTS + 1])
def test_every_row_of_more_than_one_batch_is_stored(influxdb, store, bucket, number):
    write(store, readings(*(reading(time=NOON + timedelta(milliseconds=n), value=n) for n in range(number))), [])
    (counted,) = influxdb.query("SELECT count(value), sum(value) FROM voltageL1", bucket)
    assert (counted["count"], counted["sum"]) == (number, sum(range(number)))


def test_writing_no_points_does_not_contact_the_server():
    with contextlib.closing(InfluxReadingsStore("http://127.0.0.1:1", "a:b", "emm", "emm")) as store:
        write(store, NOTHING, [])


def test_a_bucket_names_a_retention_policy(influxdb, open_store):
    now = datetime.now(UTC)
    write(open_store(influxdb.day_bucket), readings(reading(measurement="kept_a_day", time=now)), [])
    assert len(influxdb.query("SELECT value FROM day.kept_a_day")) == 1
    assert influxdb.query("SELECT value FROM autogen.kept_a_day") == []


# Ordinary and unusual texts

HARD_TEXTS = [
    "comma,space equals=quote\"'",
    "tab\there",
    "carriage\rreturn",
    "Zähler 東京 🔌",
    " leading and trailing ",
    "10 000 " + "x" * 9993,
    "None",
    "_x",
]
EVERYTHING = "SELECT * FROM /(?s).*/ GROUP BY *"


@pytest.mark.parametrize("text", HARD_TEXTS, ids=lambda text: text[:20])
def test_a_text_is_read_back_as_it_was_given(influxdb, store, bucket, text):
    write(store, readings(reading(measurement=text, unit=text, description=text)), [])
    (row,) = influxdb.query(EVERYTHING, bucket)
    assert (row["measurement"], row["dataunit"], row["description"], row["id"]) == (text, text, text, "1")


@pytest.mark.parametrize("text", ["C:\\Meters\\1", "hall \\ meter", "back\\,slash", 'a\\ b"c', "\\\\ \\", "tab\t"])
def test_a_description_with_a_backslash_in_it_is_read_back_as_it_was_given(influxdb, store, bucket, text):
    text += "."
    write(store, NOTHING, [poll(description=text), poll(id=2)])
    rows = influxdb.query(EVERYTHING, bucket)
    assert {row["id"]: row["description"] for row in rows} == {"1": text, "2": "example"}


@pytest.mark.parametrize("measurement", ["_x", "x#", "=", '"quoted"', "a=b", ".", "select"])
def test_an_unusual_measurement_name_is_stored_as_given(influxdb, store, bucket, measurement):
    write(store, readings(reading(measurement=measurement)), [])
    assert [row["measurement"] for row in influxdb.query(EVERYTHING, bucket)] == [measurement]


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.text(',= "\\#\t\r\n\0a', max_size=12)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=200))
def test_any_text_is_read_back_as_given_or_named(influxdb, open_store, texts):
    bucket = influxdb.create_database("any_text")
    given_rows = [
        reading(id=number, measurement=measurement, unit=unit, description=description, value=number)
        for number, (measurement, unit, description) in enumerate(texts)
    ]
    frame = readings(*given_rows)
    named = set(shape_points(frame, []).unstorable)
    assert write(open_store(bucket), frame) == []
    stored = {
        int(row["value"]): (row["measurement"], row.get("dataunit") or "", row.get("description") or "")
        for row in influxdb.query(EVERYTHING, bucket)
    }
    assert stored == {number: text for number, text in enumerate(texts) if number not in named}


# Points that the server rejects


@pytest.fixture
def conflict(influxdb, bucket):
    """The field `value` of voltageL2 is a text in this bucket."""
    influxdb.write(f'voltageL2,id=9 value="text" {NOON_MS}', bucket)


def test_at_a_type_conflict_valid_points_are_stored_and_the_others_reported(influxdb, store, bucket, conflict):
    bad = [reading(measurement="voltageL2", id=number) for number in (2, 7)]
    rejected = write(store, readings(reading(), bad[0], reading(id=3), bad[1]), [poll()])
    assert rejected_rows(rejected) == rows(points(readings(*bad)))
    assert all("field type conflict" in each.reason and each.reason.isprintable() for each in rejected)
    assert {row["id"] for row in influxdb.query("SELECT * FROM voltageL1", bucket)} == {"1", "3"}
    assert len(influxdb.query("SELECT * FROM emm_poll", bucket)) == 1


def test_one_bad_point_among_many_batches_is_found_and_all_others_are_stored(influxdb, store, bucket, conflict):
    good = [reading(time=NOON + timedelta(milliseconds=n)) for n in range(2 * BATCH_POINTS)]
    bad = reading(measurement="voltageL2")
    rejected = write(store, readings(*good[:7000], bad, *good[7000:]), [poll()])
    assert rejected_rows(rejected) == rows(points(readings(bad)))
    assert influxdb.query("SELECT count(value) FROM voltageL1", bucket)[0]["count"] == 2 * BATCH_POINTS
    assert len(influxdb.query("SELECT * FROM emm_poll", bucket)) == 1


def test_a_point_older_than_the_retention_policy_is_rejected(influxdb, open_store):
    now = datetime.now(UTC)
    old, new = reading(measurement="old", time=now - timedelta(days=3)), reading(measurement="new", time=now)
    (rejected,) = write(open_store(influxdb.day_bucket), readings(old, new))
    assert "beyond retention policy" in rejected.reason
    assert rejected.points.readings.measurement.tolist() == ["old"]
    assert len(influxdb.query("SELECT value FROM day.new")) == 1


def test_a_batch_of_which_influxdb_takes_nothing_is_not_sent_piece_by_piece(open_store, influxdb, monkeypatch):
    store = open_store(influxdb.day_bucket)
    posts = []
    post = store._post
    monkeypatch.setattr(store, "_post", lambda text, until: (posts.append(text.count("\n")), post(text, until))[1])
    old = readings(*(reading(time=NOON + timedelta(milliseconds=n)) for n in range(1000)))
    assert len(rejected_rows(write(store, old))) == 1000
    assert posts == [1000]


def test_a_batch_too_large_for_the_server_is_sent_in_parts(influxdb, store, bucket):
    # digits that gzip can only halve, against the 1 MB that nginx takes here
    noise = random.Random(1)
    write(store, readings(*(reading(id=id_, description=noise.randbytes(4500).hex()) for id_ in range(300))))
    assert influxdb.query("SELECT count(value) FROM voltageL1", bucket)[0]["count"] == 300


# Errors for an operator


def one_line_without_token(caught, token):
    message = str(caught.value)
    assert message.isprintable()
    assert token not in message
    assert PASSWORD not in message
    return message


@pytest.mark.parametrize("token", ["emm:wrong", "stranger:nothing", "not-of-the-form-user-password"])
def test_a_wrong_token_is_reported(open_store, token):
    with pytest.raises(StoreAccessError, match=r"HTTP 401.*INFLUXDB_TOKEN") as caught:
        write(open_store(token=token), readings(reading()), [])
    assert token not in one_line_without_token(caught, token)


def test_a_token_without_the_right_to_write_is_reported(influxdb, open_store):
    token = influxdb.create_user("reader", "reader-password")
    with pytest.raises(StoreAccessError, match=r"HTTP 403.*may not write") as caught:
        write(open_store(token=token), readings(reading()), [])
    one_line_without_token(caught, token)


@pytest.mark.parametrize(
    ("bucket", "reason"),
    [("absent", "404.*database not found.*INFLUXDB_BUCKET"), ("emm/absent", "500.*retention policy.*INFLUXDB_BUCKET")],
)
def test_a_bucket_that_does_not_exist_is_reported(influxdb, open_store, bucket, reason):
    with pytest.raises(StoreError, match=reason) as caught:
        write(open_store(bucket), readings(reading()), [])
    one_line_without_token(caught, influxdb.token)
    assert influxdb.url in str(caught.value)


def test_an_influxdb_that_is_unavailable_behind_its_proxy_may_take_the_points_later(
    influxdb, influxdb_away, store_later
):
    for attempt in (store_later.ping, lambda: write(store_later, readings(reading()), [])):
        with pytest.raises(StoreError, match=r"HTTP 502.*is InfluxDB running") as caught:
            attempt()
        one_line_without_token(caught, influxdb.token)


@pytest.fixture
def store_later(influxdb, open_store):
    return open_store()


def test_the_same_store_works_again_after_an_outage(influxdb, store, bucket):
    write(store, readings(reading()), [])
    influxdb.stop()
    try:
        with pytest.raises(StoreError):
            write(store, readings(reading(id=2)), [])
    finally:
        influxdb.start()
    store.ping()
    write(store, readings(reading(id=2)), [])
    assert len(influxdb.query("SELECT value FROM voltageL1", bucket)) == 2


def test_a_port_that_nothing_listens_on_is_named(free_port):
    url = f"http://127.0.0.1:{free_port}"
    with contextlib.closing(InfluxReadingsStore(url, "emm:secret", "emm", "emm")) as store:
        for attempt in (store.ping, lambda: write(store, readings(reading()), [])):
            with pytest.raises(StoreError, match=f"{url} does not answer.*is InfluxDB running") as caught:
                attempt()
            assert "secret" not in one_line_without_token(caught, "emm:secret")


def test_an_empty_token_leaves_the_message_readable(free_port):
    with (
        contextlib.closing(InfluxReadingsStore(f"http://127.0.0.1:{free_port}", "", "emm", "emm")) as store,
        pytest.raises(StoreError, match="Connection refused"),
    ):
        store.ping()


@pytest.fixture
def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_a_silent_server_is_abandoned_in_time(free_port):
    with (
        socket.create_server(("127.0.0.1", free_port)),
        contextlib.closing(
            InfluxReadingsStore(f"http://127.0.0.1:{free_port}", "a:b", "emm", "emm", timeout_s=0.2)
        ) as store,
        pytest.raises(StoreError, match="timed out"),
    ):
        write(store, readings(reading()), [])


class Other(http.server.BaseHTTPRequestHandler):
    """A web server that is not InfluxDB, and accepts every request."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.server.status)
        for name, value in {"Content-Length": "0", **self.server.headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def other_server():
    server = http.server.HTTPServer(("127.0.0.1", 0), Other)
    server.headers = {}
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("status", [200, 301, 405, 429, 503])
def test_any_answer_but_influxdbs_own_leaves_the_points_to_be_written_later(other_server, status):
    other_server.status = status
    with (
        contextlib.closing(InfluxReadingsStore(other_server.url, "a:b", "emm", "emm")) as store,
        pytest.raises(StoreError, match=f"HTTP {status}"),
    ):
        write(store, readings(reading()), [])


@pytest.mark.parametrize("status", [400, 413, 422])
def test_an_answer_that_blames_the_content_is_not_worth_another_attempt(other_server, status):
    other_server.status = status
    with contextlib.closing(InfluxReadingsStore(other_server.url, "a:b", "emm", "emm")) as store:
        rejected = write(store, readings(reading(), reading(id=2)))
    assert rejected_rows(rejected) == rows(points(readings(reading(), reading(id=2))))
    assert all(f"HTTP {status}" in each.reason for each in rejected)


def test_the_pause_in_retry_after_is_passed_on(other_server):
    other_server.status = 429
    other_server.headers = {"Retry-After": "7"}
    with (
        contextlib.closing(InfluxReadingsStore(other_server.url, "a:b", "emm", "emm")) as store,
        pytest.raises(StoreError) as caught,
    ):
        write(store, readings(reading()))
    assert caught.value.retry_after_s == 7


def test_no_request_exceeds_the_available_time(free_port, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(store_module, "time", SimpleNamespace(monotonic=clock.monotonic))
    store = InfluxReadingsStore(f"http://127.0.0.1:{free_port}", "a:b", "emm", "emm", timeout_s=120)
    with contextlib.closing(store), ThreadPoolExecutor() as thread:
        with socket.create_server(("127.0.0.1", free_port)):
            writing = thread.submit(store.write, points(readings(reading())), until=clock.monotonic() + 0.3)
            ended, _ = wait([writing], timeout=60)
        assert writing in ended, "it waited as long as a request may take when there is time"
        with pytest.raises(StoreError, match="timed out"):
            writing.result()
        with pytest.raises(StoreError, match="in the available time"):
            store.write(points(readings(reading())), until=clock.monotonic())


@pytest.mark.parametrize("token", ["two\nlines", "Zähler:x", "tab\t"])
def test_a_token_that_is_not_allowed_in_a_header_is_refused_without_showing_it(token):
    with pytest.raises(ConfigurationError, match="INFLUXDB_TOKEN") as caught:
        InfluxReadingsStore("http://localhost:8086", token, "emm", "emm")
    assert token not in str(caught.value)


@pytest.mark.parametrize("url", ["localhost:8086", "", "ftp://host", "http://", "http://host:port", "http://[::1"])
def test_an_invalid_url_is_reported(url):
    with pytest.raises(ConfigurationError, match="INFLUXDB_URL"):
        InfluxReadingsStore(url, "a:b", "emm", "emm")


@pytest.mark.parametrize("host", ["127.0.0.1", "host..example"])
def test_a_password_in_the_url_is_not_shown(free_port, host):
    url = f"http://user:geheim@{host}:{free_port}"
    with contextlib.closing(InfluxReadingsStore(url, "a:b", "emm", "emm")) as store:
        for attempt in (store.ping, lambda: write(store, readings(reading()))):
            with pytest.raises(StoreError, match=r"InfluxDB at http://\*\*\*@") as caught:
                attempt()
            assert "geheim" not in str(caught.value)


def test_ping_succeeds_with_an_influxdb_that_answers(store):
    store.ping()


def test_ping_writes_nothing(influxdb, store, bucket):
    store.ping()
    assert influxdb.query("SHOW MEASUREMENTS", bucket) == []


@pytest.mark.parametrize("options", [{"token": "emm:wrong"}, {"bucket": "absent"}])
def test_ping_reports_that_a_write_would_be_refused(open_store, options):
    with pytest.raises(StoreAccessError):
        open_store(**options).ping()


def test_ping_succeeds_with_influxdb_2_which_rejects_an_empty_write(other_server):
    other_server.status = 400
    with contextlib.closing(InfluxReadingsStore(other_server.url, "token", "emm", "emm")) as store:
        store.ping()
