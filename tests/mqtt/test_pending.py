import json

from emm_pipeline.mqtt.meters import PublishedMeter
from emm_pipeline.mqtt.pending import Pending
from emm_pipeline.mqtt.topics import Topics, level_names
from emm_pipeline.stores.points import PointBatch

LEVELS = level_names([("voltage", "V"), ("current", "A")])
NOW = 5_000
METERS = {id_: PublishedMeter(id_, f"meter {id_}", LEVELS) for id_ in (1, 2)}


def batch(time, readings, failed=()):
    """`readings` is meter id to measurements; `failed` are ids without values."""
    rows = [
        {"time": time, "id": id_, "description": None, "measurement": name, "unit": "V", "value": value}
        for id_, values in readings.items()
        for name, value in values.items()
    ]
    rows = [row | {"unit": {"voltage": "V", "current": "A"}.get(row["measurement"])} for row in rows]
    poll = {"time": time, "description": None, "latency_ms": 1.0, "requests": 1, "error": None}
    polls = [poll | {"id": id_, "ok": True, "points": len(values)} for id_, values in readings.items()]
    polls += [poll | {"id": id_, "ok": False, "points": 0} for id_ in failed]
    return PointBatch.of(rows, polls)


def messages(pending):
    """Topic to payload, and the retained topics; of packets shorter than 128 bytes."""
    found, retained = {}, set()
    for sent in pending.take():
        data, count = sent.data, 0
        while data:
            length, size = data[1], data[2] * 256 + data[3]
            topic = data[4 : 4 + size].decode()
            found[topic] = data[4 + size : 2 + length].decode()
            retained |= {topic} if data[0] & 1 else set()
            data, count = data[2 + length :], count + 1
        assert count == sent.messages
    return found, retained


def pending(**options):
    made = Pending(Topics(), **options)
    made.set_meters(METERS, 0)
    return made


def test_a_poll_is_published_once_value_by_value():
    published = pending()
    published.add(batch(10, {1: {"voltage": 230.5, "current": 4.0}}), NOW)
    assert messages(published) == (
        {"emm/status/1": "online", "emm/1/voltage": "230.5", "emm/1/current": "4"},
        {"emm/status/1"},
    )
    assert messages(published) == ({}, set())


def test_values_are_retained_if_wanted_but_not_those_that_are_not_configured():
    published = pending(retain=True)
    published.add(batch(10, {1: {"voltage": 230.5, "unknown": 1.0}}), NOW)
    found, retained = messages(published)
    assert found["emm/1/unknown"] == "1"
    assert retained == {"emm/status/1", "emm/1/voltage"}


def test_as_json_all_values_of_a_poll_are_one_message():
    published = pending(as_json=True)
    published.add(batch(0, {1: {"voltage": 230.5, "current": 4.0}}), NOW)
    found, _ = messages(published)
    assert json.loads(found["emm/1"]) == {
        "time": "1970-01-01T00:00:00.000Z",
        "values": {"voltage": 230.5, "current": 4},
    }


def test_a_newer_poll_replaces_values_that_were_not_sent_so_nothing_grows():
    published = pending()
    for number in range(1000):
        published.add(batch(number, {1: {"voltage": float(number)}, 2: {"voltage": 1.0}}), NOW)
    found, _ = messages(published)
    assert found["emm/1/voltage"] == "999"
    assert len(found) == 4
    assert published.dropped == 2 * 999


def test_a_poll_that_arrives_late_does_not_replace_a_newer_one():
    published = pending()
    published.add(batch(20, {1: {"voltage": 20.0}}), NOW)
    published.add(batch(10, {1: {"voltage": 10.0}}, failed=[2]), NOW)
    found, _ = messages(published)
    assert found == {"emm/status/1": "online", "emm/1/voltage": "20", "emm/status/2": "offline"}


def test_a_meter_that_fails_is_offline_and_its_earlier_values_are_not_sent_any_more():
    published = pending()
    published.add(batch(10, {1: {"voltage": 230.0}}), NOW)
    published.add(batch(20, {}, failed=[1]), NOW)
    assert messages(published)[0] == {"emm/status/1": "offline"}
    published.add(batch(30, {1: {"voltage": 231.0}}), NOW)
    assert messages(published)[0] == {"emm/status/1": "online", "emm/1/voltage": "231"}


def test_availability_is_sent_when_it_changes_and_to_a_broker_that_has_lost_it():
    published = pending()
    published.add(batch(10, {1: {"voltage": 230.0}, 2: {"voltage": 230.0}}), NOW)
    messages(published)
    published.add(batch(20, {1: {"voltage": 230.0}}), NOW)
    assert "emm/status/1" not in messages(published)[0]
    published.start_again()
    published.found("emm/status/2", b"online")
    published.all_found()
    assert messages(published)[0] == {"emm/status/1": "online"}


def test_a_meter_that_another_host_reported_as_offline_is_online_after_the_next_poll():
    """With Celery any host may poll a meter, and each has its own publisher."""
    published = pending()
    published.add(batch(10, {1: {"voltage": 230.0}}), NOW)
    messages(published)
    published.found("emm/status/1", b"offline")
    published.add(batch(20, {1: {"voltage": 231.0}}), NOW)
    assert messages(published)[0] == {"emm/status/1": "online", "emm/1/voltage": "231"}


def test_availability_that_was_deleted_at_the_broker_is_sent_again_after_the_next_poll():
    published = pending()
    published.add(batch(10, {1: {"voltage": 230.0}}), NOW)
    messages(published)
    published.found("emm/status/1", b"")
    published.found("emm/status/unknown", b"online")
    published.found("emm/status/99", b"online")
    published.add(batch(20, {1: {"voltage": 231.0}}), NOW)
    assert messages(published)[0]["emm/status/1"] == "online"


def test_a_meter_that_is_polled_no_more_becomes_unavailable_and_old_values_are_dropped():
    published = pending()
    published.add(batch(1000, {1: {"voltage": 230.0}}), NOW)
    published.expire(oldest=1001)
    published.report_unpolled(1001, {})
    assert messages(published)[0] == {"emm/status/1": "offline", "emm/status/2": "offline"}


def test_a_meter_that_another_host_polls_stays_available():
    published = pending()
    published.add(batch(1000, {1: {"voltage": 230.0}}), NOW)
    messages(published)
    published.report_unpolled(2000, {1: 2500})
    assert messages(published)[0] == {"emm/status/2": "offline"}


def test_a_removed_meter_is_forgotten_and_an_unknown_one_ignored():
    published = pending()
    published.add(batch(10, {1: {"voltage": 230.0}, 7: {"voltage": 1.0}}), NOW)
    published.set_meters({2: METERS[2]}, 20)
    published.all_found()
    assert messages(published)[0] == {}


def test_after_the_clock_was_corrected_values_are_published_again():
    published = pending()
    published.add(batch(10**9, {1: {"voltage": 230.0}}), NOW)
    messages(published)
    published.add(batch(NOW, {1: {"voltage": 231.0}}), NOW)
    assert messages(published)[0] == {"emm/1/voltage": "231"}


def test_a_poll_from_before_the_start_of_the_publisher_is_published():
    published = Pending(Topics())
    published.set_meters(METERS, NOW)
    published.add(batch(NOW - 1000, {1: {"voltage": 230.0}}), NOW)
    assert messages(published)[0] == {"emm/status/1": "online", "emm/1/voltage": "230"}


def test_the_values_of_a_meter_are_complete_in_whatever_order_a_batch_has_them():
    points = batch(10, {1: {"voltage": 230.5, "current": 4.0}, 2: {"voltage": 231.5, "current": 5.0}})
    shuffled = PointBatch(points.readings[[0, 2, 1, 3]], points.polls)
    published = pending()
    published.add(shuffled, NOW)
    found, _ = messages(published)
    assert {topic: found[topic] for topic in found if "status" not in topic} == {
        "emm/1/voltage": "230.5",
        "emm/1/current": "4",
        "emm/2/voltage": "231.5",
        "emm/2/current": "5",
    }
    assert published.dropped == 0


def test_a_meter_that_another_host_polled_again_becomes_unavailable_when_nothing_polls_it():
    published = pending()
    published.report_unpolled(1000, {})
    messages(published)
    published.found("emm/status/1", b"online")
    published.report_unpolled(3000, {1: 2000, 2: 3500})
    assert messages(published)[0] == {"emm/status/1": "offline"}


def test_after_a_restart_a_meter_that_was_last_polled_long_ago_is_not_available():
    """The broker retains its availability, and perhaps values, of that time."""
    published = Pending(Topics())
    published.set_meters(METERS, 10_000)
    published.add(batch(10, {1: {"voltage": 230.0}}), 10_000)
    published.start_again()
    for id_ in METERS:
        published.found(f"emm/status/{id_}", b"online")
    published.all_found()
    published.expire(5000)
    published.report_unpolled(5000, {1: 10, 2: 20})
    assert messages(published)[0] == {"emm/status/1": "offline", "emm/status/2": "offline"}
