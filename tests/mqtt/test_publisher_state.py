from datetime import UTC, datetime, timedelta

import pytest

from emm_pipeline.mqtt.state import FILE, PublisherState, publishing, read_state

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
URL = "mqtt://broker:1883"


def state(**fields):
    return PublisherState(**{"broker": URL, "started_at": NOW, "updated_at": NOW, "meters": 3} | fields)


def test_what_was_written_is_read(tmp_path):
    written = state(connected_since=NOW, messages=7, problem="x", problem_since=NOW)
    written.write(tmp_path)
    assert read_state(tmp_path) == written


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"broker": 1, "started_at": "x"}'])
def test_a_file_that_cannot_be_read_is_no_state(tmp_path, content):
    (tmp_path / FILE).write_text(content)
    assert read_state(tmp_path) is None


@pytest.mark.parametrize(
    ("found", "url", "status", "reason"),
    [
        (None, "", "off", "MQTT_URL is empty"),
        (None, URL, "failing", "`emm mqtt` has not been started here"),
        (state(updated_at=NOW - timedelta(minutes=2), connected_since=NOW), URL, "failing", "`emm mqtt` does not run"),
        (state(problem="MQTT broker x cannot be reached"), URL, "failing", "MQTT broker x cannot be reached"),
        (state(connected_since=NOW, problem="no database"), URL, "degraded", "no database"),
        (state(connected_since=NOW), URL, "ok", f"3 meters are published to {URL}"),
    ],
)
def test_it_is_said_how_publishing_goes(found, url, status, reason):
    result = publishing(found, url, NOW)
    assert (result.status, result.reason) == (status, reason)
