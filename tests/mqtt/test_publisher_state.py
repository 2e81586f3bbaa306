from datetime import UTC, datetime, timedelta

import pytest
from support.ports import free_port

from emm_pipeline.condition.parts import parts_seen_by_the_daemon
from emm_pipeline.condition.probes import look_at_outbox
from emm_pipeline.mqtt.state import FILE, Problems, PublisherState, publishing, read_state
from emm_pipeline.settings import load_settings

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
    ("found", "status", "reason"),
    [
        (None, "stale", "`emm mqtt` has not been started here"),
        (state(updated_at=NOW - timedelta(minutes=2), connected_since=NOW), "stale", "`emm mqtt` does not run"),
        (state(stopped=True, connected_since=NOW), "stale", "`emm mqtt` does not run"),
        (state(problem="MQTT broker x cannot be reached"), "degraded", "MQTT broker x cannot be reached"),
        (state(), "degraded", f"connecting to {URL}"),
        (state(problem="the configuration cannot be read"), "degraded", "the configuration cannot be read"),
        (state(connected_since=NOW, problem="no database"), "degraded", "no database"),
        (state(connected_since=NOW), "ok", f"3 meters published to {URL}: no message yet"),
        (
            state(connected_since=NOW, meters=1, messages=7, last_message_at=NOW - timedelta(seconds=20)),
            "ok",
            f"1 meter published to {URL}: 7 messages, the last 20 s ago",
        ),
    ],
)
def test_the_status_tells_how_publishing_goes(found, status, reason):
    result = publishing(found, URL, NOW)
    assert (result.state, result.reason) == (status, reason)
    assert ("bring the broker back" in (result.what_to_do or "")) == reason.startswith(("MQTT broker", "connecting"))
    if status == "stale":
        assert "COMPOSE_PROFILES=mqtt" in result.what_to_do


def test_without_a_url_there_is_nothing_to_tell():
    assert publishing(state(), "", NOW) is None


def test_a_problem_is_logged_once_and_has_the_time_of_its_beginning(caplog):
    problems = Problems()
    problems.note("broker", "away")
    first = problems.first
    problems.note("broker", "away")
    problems.note("folder", "not permitted")
    assert (first[0], problems.first) == ("away", first)
    problems.note("broker", None)
    assert problems.first[0] == "not permitted"
    problems.note("folder", None)
    problems.note("folder", None)
    assert problems.first == (None, None)
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == ["away", "not permitted"]


@pytest.mark.parametrize(("minutes", "is_reported"), [(4, False), (6, True)])
def test_an_alert_is_raised_when_the_broker_is_unavailable_for_five_minutes(
    monkeypatch, tmp_path, minutes, is_reported
):
    variables = {"MQTT_URL": URL, "OUTBOX_DIR": str(tmp_path), "POSTGRES_HOST": "127.0.0.1"}
    for name, value in (variables | {"POSTGRES_PORT": str(free_port())}).items():
        monkeypatch.setenv(name, value)
    now = datetime.now(UTC)
    (tmp_path / "mqtt").mkdir()
    away = state(updated_at=now, problem="MQTT broker x is unavailable", problem_since=now - timedelta(minutes=minutes))
    away.write(tmp_path / "mqtt")
    parts = {part.name: part for part in parts_seen_by_the_daemon(load_settings(), now)}
    assert parts["MQTT"].is_ok is not is_reported
    monkeypatch.setenv("MQTT_URL", "")
    assert "MQTT" not in {part.name for part in parts_seen_by_the_daemon(load_settings(), now)}


def test_copies_for_the_publisher_do_not_fill_the_outbox(monkeypatch, tmp_path):
    monkeypatch.setenv("OUTBOX_DIR", str(tmp_path))
    monkeypatch.setenv("OUTBOX_MAX_MB", "1")
    (tmp_path / "mqtt").mkdir()
    (tmp_path / "mqtt" / "20260101T120000.000000Z-run.points").write_bytes(bytes(2_000_000))
    assert look_at_outbox(load_settings(), NOW).is_ok
