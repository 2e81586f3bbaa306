"""Alerts by the channels of Apprise, sent to a real HTTP endpoint; the watchdog; each line once per channel."""

import os
import signal
import subprocess
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from support.command_line import EMM
from support.endpoint import Endpoint
from support.mail import PASSWORD, RECEIVER, SENDER
from support.ports import free_port

from emm_pipeline.alerts.apprise_channel import AppriseChannel
from emm_pipeline.alerts.rules import FAILURES, Alert, AlertChanges, AlertLine, Condition
from emm_pipeline.alerts.state import claimed_lines, forget_other_channels, save_changes
from emm_pipeline.alerts.watchdog import WatchdogState
from emm_pipeline.definitions import build_definitions
from emm_pipeline.errors import AlertError, ConfigurationError
from emm_pipeline.settings import current_settings

NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
UTC_ZONE = ZoneInfo("UTC")


@pytest.fixture
def endpoint():
    endpoint = Endpoint()
    yield endpoint
    endpoint.close()


def test_an_alert_arrives_at_an_http_endpoint_with_subject_and_text(endpoint):
    AppriseChannel(endpoint.url).send("EMM: 1 failing", "meter 5 (Küche) fails\n")
    (message,) = endpoint.received
    assert message["title"] == "EMM: 1 failing"
    assert "meter 5 (Küche) fails" in message["message"]


def test_an_endpoint_that_refuses_is_named_without_its_password(endpoint):
    endpoint.status = 500
    with pytest.raises(AlertError) as caught:
        AppriseChannel(endpoint.url).send("EMM: 1 failing", "x\n")
    assert "127.0.0.1" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_url_that_apprise_does_not_know_is_a_configuration_error_without_its_content():
    with pytest.raises(ConfigurationError, match="nosuch://") as caught:
        AppriseChannel("nosuch://secret-token").send("s", "b")
    assert "secret-token" not in str(caught.value)


@pytest.fixture
def two_channels(pipeline, post_office, endpoint, monkeypatch):
    """A pipeline that sends alerts by mail and to an HTTP endpoint."""
    values = {
        "EMAIL_NOTIFICATIONS": "on",
        "LOGGER_SENDER_EMAIL_HOST": "127.0.0.1",
        "LOGGER_SENDER_EMAIL_PORT": str(post_office.port),
        "LOGGER_SENDER_EMAIL_ADDRESS": SENDER,
        "LOGGER_SENDER_EMAIL_PASSWORD": PASSWORD,
        "LOGGER_RECEIVER_EMAIL_ADDRESS": RECEIVER,
        "ALERT_URLS": endpoint.url,
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    current_settings.cache_clear()
    return pipeline


def tell(pipeline, endpoint, text="meter 5 fails: no reply"):
    changes = AlertChanges(raised=(Alert("meter 5", "meter 5", NOON, "no reply"),))
    channels = ["mail", AppriseChannel(endpoint.url).name]
    save_changes(pipeline.engine, changes, [AlertLine(True, text)], channels)


def test_an_unavailable_channel_gets_its_lines_later_and_the_other_gets_them_once(two_channels, endpoint, post_office):
    tell(two_channels, endpoint)
    endpoint.status = 503
    result = two_channels.run("send_alerts")
    assert not result.success
    assert len(post_office.mails) == 1
    endpoint.status = 200
    assert two_channels.run("send_alerts").success
    assert (len(post_office.mails), len(endpoint.received)) == (1, 1)
    assert two_channels.sql("SELECT count(*) FROM alert_lines") == [(0,)]


def test_lines_for_a_channel_that_was_removed_do_not_wait_forever(two_channels, endpoint):
    tell(two_channels, endpoint)
    forget_other_channels(two_channels.engine, ["mail"])
    with claimed_lines(two_channels.engine, 10, AppriseChannel(endpoint.url).name) as lines:
        assert lines == []


def test_with_alert_urls_alone_the_sensor_and_the_job_exist(pipeline, endpoint, monkeypatch):
    monkeypatch.setenv("ALERT_URLS", endpoint.url)
    current_settings.cache_clear()
    definitions = build_definitions(current_settings())
    assert "alert_sensor" in {sensor.name for sensor in definitions.sensors or ()}
    assert definitions.resolve_job_def("send_alerts")
    definitions.get_repository_def().load_all_definitions()  # as the code server does: no two have one name


def away(since=NOON):
    return Condition("PostgreSQL", "PostgreSQL", FAILURES, since, "127.0.0.1:5432: refused")


def back(at):
    return Condition("PostgreSQL", "PostgreSQL", last_ok_at=at)


def test_the_watchdog_reports_each_change_once_even_after_it_was_killed(tmp_path):
    file = tmp_path / "state.json"
    told = []
    for condition in (away(), away(), back(NOON + timedelta(minutes=5)), back(NOON + timedelta(minutes=6))):
        state = WatchdogState.load(file)  # as a new process would
        told += state.look([condition], UTC_ZONE, ["mail"])
    assert [line.raised for line in told] == [True, False]
    assert [line.raised for line in WatchdogState.load(file).waiting["mail"]] == [True, False]


def test_an_alert_is_sent_at_once_to_every_channel_if_the_disk_of_the_watchdog_is_full_too(tmp_path):
    """Its file is often on the disk of PostgreSQL, whose failure it reports."""
    (tmp_path / "state.tmp").mkdir()  # instead of a file that cannot be written
    state, sent, problems = WatchdogState(tmp_path / "state.json"), [], []
    channels = [
        SimpleNamespace(name=name, send=lambda subject, body, name=name: sent.append((name, body)))
        for name in ("mail", "chat")
    ]
    assert len(state.look([away()], UTC_ZONE, ["mail", "chat"])) == 1
    state.send(channels, "EMM", problems.append)
    assert [name for name, _ in sent] == ["mail", "chat"]
    assert problems == [f"{tmp_path / 'state.json'} cannot be written: Is a directory"] * 2
    assert state.look([away()], UTC_ZONE, ["mail", "chat"]) == []
    state.send(channels, "EMM", problems.append)
    assert len(sent) == 2


def test_the_watchdog_keeps_the_alert_of_a_part_that_it_cannot_check_now(tmp_path):
    state = WatchdogState(tmp_path / "state.json")
    daemon = Condition("Dagster's daemon", "Dagster's daemon", FAILURES, NOON, "it does not run")
    state.look([daemon], UTC_ZONE, [])
    assert state.look([away()], UTC_ZONE, [])
    assert {alert.subject for alert in state.raised} == {"Dagster's daemon", "PostgreSQL"}


def test_the_watchdog_reports_that_postgresql_has_failed_and_has_recovered(emm, endpoint, tmp_path, config_url):
    port = free_port()
    environment = {**emm.settings, "ALERT_URLS": endpoint.url, "EMM_CODE_SERVER_PORT": str(port)}
    state = ["--state", str(tmp_path / "state.json"), "--interval", "1", "--patience", "0"]

    def messages(text):
        return [each for each in endpoint.received if text in each["message"]]

    def watch(until, **changed):
        process = subprocess.Popen(
            [EMM, "watchdog", *state],
            env={**os.environ, **environment, **changed},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        ends_at = time.monotonic() + 60
        while not until() and time.monotonic() < ends_at:
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
        assert process.returncode == 0, output
        return output

    output = watch(lambda: messages("PostgreSQL fails"), POSTGRES_HOST="127.0.0.1", POSTGRES_PORT=str(free_port()))
    assert len(messages("PostgreSQL fails")) == 1, output
    assert "hunter2" not in output
    output = watch(lambda: messages("PostgreSQL has recovered"))
    assert len(messages("PostgreSQL has recovered")) == 1, output
    assert len(messages("PostgreSQL fails")) == 1
