"""Mail about changes of state: polls of simulated meters, the sensor, the job and a real SMTP server."""

from datetime import UTC, datetime, timedelta

import pytest
from dagster import DagsterEventType, RunRequest, build_sensor_context
from support.frames import points, reading, readings
from support.mail import PASSWORD, RECEIVER, SENDER
from support.meters import SimulatedUnit

from emm_pipeline.alerts.state import claimed_lines
from emm_pipeline.definitions import build_definitions
from emm_pipeline.defs.alerts import alert_sensor
from emm_pipeline.defs.resources import ConfigDatabase
from emm_pipeline.defs.runs import ScheduledPoll
from emm_pipeline.opening import open_outbox
from emm_pipeline.polling.sharding import Shard
from emm_pipeline.polling.timing import Window
from emm_pipeline.settings import current_settings

REGISTERS = {(4, address): 0 for address in range(80)}


@pytest.fixture
def mailing(pipeline, post_office, monkeypatch):
    """A pipeline with mail."""
    values = {
        "EMAIL_NOTIFICATIONS": "on",
        "LOGGER_SENDER_EMAIL_HOST": "127.0.0.1",
        "LOGGER_SENDER_EMAIL_PORT": str(post_office.port),
        "LOGGER_SENDER_EMAIL_ADDRESS": SENDER,
        "LOGGER_SENDER_EMAIL_PASSWORD": PASSWORD,
        "LOGGER_RECEIVER_EMAIL_ADDRESS": RECEIVER,
        "LOGGER_NOTIFICATION_EMAIL_SUBJECT": "Farm meters",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    current_settings.cache_clear()
    return pipeline


@pytest.fixture
def gateways(mailing, simulated_gateway):
    """Two gateways with a meter each, 1 and 2, both discovered."""
    gateways = {id_: simulated_gateway({1: SimulatedUnit(REGISTERS)}) for id_ in (1, 2)}
    for id_, gateway in gateways.items():
        mailing.add_meter(id_, gateway.port)
    mailing.sql("UPDATE energy_meters SET description = 'kitchen' WHERE id = 1")
    assert mailing.run("discovery").success
    return gateways


def look(pipeline) -> list[str]:
    """Evaluate the sensor once; return the keys of the runs that it requests."""
    context = build_sensor_context(instance=pipeline.instance)
    asked = list(alert_sensor(context, config_database=ConfigDatabase()))
    return [request.run_key for request in asked if isinstance(request, RunRequest)]


def look_and_mail(pipeline) -> None:
    if look(pipeline):
        assert pipeline.run("send_alerts").success


def poll(pipeline, times: int = 1) -> None:
    """Poll as the schedule does, but read failing meters even if they are not due."""
    for _ in range(times):
        pipeline.sql("UPDATE meter_status SET next_attempt_at = NULL")
        now = datetime.now(UTC)
        pipeline.run("poll", tags=ScheduledPoll(Shard(), Window(now, now + timedelta(seconds=30))).tags())


def waiting(pipeline) -> int:
    return pipeline.sql("SELECT count(*) FROM alert_lines")[0][0]


def test_a_meter_that_fails_for_the_third_time_is_mailed_once_and_its_recovery_once(mailing, gateways, post_office):
    poll(mailing)
    gateways[1].stop()
    for _ in range(2):
        poll(mailing)
        look_and_mail(mailing)
    assert post_office.mails == [], "once or twice is no reason for a mail"
    for _ in range(3):
        poll(mailing)
        look_and_mail(mailing)
    (mail,) = post_office.mails
    assert mail["Subject"] == "Farm meters: 1 failing"
    assert (mail["From"], mail["To"]) == (SENDER, RECEIVER)
    (body,) = post_office.bodies()
    assert "meter 1 (kitchen) fails: " in body
    assert f"127.0.0.1:{gateways[1].port}" in body

    gateways[1].start()
    for _ in range(2):
        poll(mailing)
        look_and_mail(mailing)
    assert [mail["Subject"] for mail in post_office.mails[1:]] == ["Farm meters: 1 recovered"]
    assert "meter 1 (kitchen) has recovered" in post_office.bodies()[1]
    assert post_office.was_encrypted == [True, True]


def test_meters_that_change_together_are_one_mail(mailing, gateways, post_office):
    for gateway in gateways.values():
        gateway.stop()
    poll(mailing, 3)
    look_and_mail(mailing)
    (body,) = post_office.bodies()
    assert [line.split("  ")[1].split(" fails")[0] for line in body.splitlines()] == ["meter 1 (kitchen)", "meter 2"]


def test_an_unavailable_mail_server_affects_no_poll_and_gets_all_lines_later(mailing, gateways, post_office):
    post_office.off()
    gateways[2].stop()
    poll(mailing, 3)
    (first,) = look(mailing)
    failed = mailing.run("send_alerts")
    assert not failed.success
    assert waiting(mailing) == 1
    assert look(mailing) == [first], "the same key again: Dagster starts no second run for it"

    gateways[2].start()
    poll(mailing)
    (second,) = look(mailing)
    assert second != first, "a new line is tried at once"
    assert not mailing.run("send_alerts").success
    assert waiting(mailing) == 2
    read = mailing.sql("SELECT count(*) FROM emm_poll WHERE ok")[0][0]
    assert read == 5, "of meter 1 four polls, of meter 2 one"

    post_office.on()
    look_and_mail(mailing)
    (mail,) = post_office.mails
    assert mail["Subject"] == "Farm meters: 1 failing, 1 recovered"
    assert waiting(mailing) == 0
    assert look(mailing) == []


def test_the_failed_mail_says_where_and_why_and_no_password(mailing, gateways, post_office):
    post_office.off()
    gateways[2].stop()
    poll(mailing, 3)
    look(mailing)
    result = mailing.run("send_alerts")
    (event,) = mailing.events(result, DagsterEventType.STEP_FAILURE)
    text = event.event_specific_data.user_failure_data.description
    assert f"127.0.0.1:{post_office.port}" in text
    assert "refused" in text
    assert PASSWORD not in "".join(map(str, mailing.instance.all_logs(result.run_id)))


def test_a_line_whose_mailing_was_killed_continues_to_wait(mailing, gateways, post_office):
    gateways[2].stop()
    poll(mailing, 3)
    look(mailing)
    with pytest.raises(KeyboardInterrupt), claimed_lines(mailing.engine, 10):
        raise KeyboardInterrupt
    assert waiting(mailing) == 1


def test_two_mailings_at_once_send_a_line_once(mailing, gateways):
    gateways[2].stop()
    poll(mailing, 3)
    look(mailing)
    with claimed_lines(mailing.engine, 10) as mine, claimed_lines(mailing.engine, 10) as others:
        assert (len(mine), others) == (1, [])


def test_a_changed_row_of_a_failing_meter_does_not_count_as_a_recovery(mailing, gateways, post_office):
    gateways[2].stop()
    poll(mailing, 3)
    look_and_mail(mailing)
    mailing.sql("UPDATE energy_meters SET description = 'cellar' WHERE id = 2")
    mailing.run("discovery")
    for _ in range(4):
        look_and_mail(mailing)
        poll(mailing)
    assert len(post_office.mails) == 1


def test_a_meter_that_is_removed_while_it_fails_is_not_reported_again(mailing, gateways, post_office):
    gateways[2].stop()
    poll(mailing, 3)
    look_and_mail(mailing)
    mailing.sql("DELETE FROM energy_meters WHERE id = 2")
    mailing.run("discovery")
    look_and_mail(mailing)
    assert len(post_office.mails) == 1
    assert mailing.sql("SELECT * FROM alerts") == []


def test_an_unavailable_store_is_mailed_once_and_once_more_when_no_points_wait(mailing, post_office):
    outbox = open_outbox(current_settings())
    read_at = datetime.now(UTC) - timedelta(minutes=3)
    batch = outbox.put(points(readings(reading())), read_at, "run-a")
    outbox.note_error("InfluxDB at http://influxdb:8086 does not answer")
    for _ in range(3):
        look_and_mail(mailing)
    (mail,) = post_office.mails
    assert mail["Subject"] == "Farm meters: 1 failing"
    (body,) = post_office.bodies()
    assert f"{read_at:%Y-%m-%d %H:%M:%S} UTC  the readings store fails: " in body
    assert "http://influxdb:8086 does not answer" in body

    with batch:
        batch.remove()
    for _ in range(2):
        look_and_mail(mailing)
    assert [mail["Subject"] for mail in post_office.mails[1:]] == ["Farm meters: 1 recovered"]


def test_points_that_wait_only_for_a_moment_cause_no_mail(mailing, post_office):
    with open_outbox(current_settings()).put(points(readings(reading())), datetime.now(UTC), "run-a"):
        look_and_mail(mailing)
    assert post_office.mails == []


def test_an_outbox_that_cannot_be_read_is_mailed(mailing, post_office):
    folder = open_outbox(current_settings()).folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("no folder")
    look_and_mail(mailing)
    assert str(folder) in post_office.bodies()[0]


def test_a_hostile_description_adds_neither_a_header_nor_a_second_line(mailing, gateways, post_office):
    mailing.sql(
        "UPDATE energy_meters SET description = :d WHERE id = 2", d="x\r\nBcc: all@example.com\r\n\r\n.\r\nQUIT"
    )
    mailing.run("discovery")
    gateways[2].stop()
    poll(mailing, 3)
    look_and_mail(mailing)
    (mail,) = post_office.mails
    assert mail["Bcc"] is None
    assert len(post_office.bodies()[0].splitlines()) == 1


def test_without_mail_there_is_no_sensor_and_no_alert_is_recorded(pipeline):
    definitions = build_definitions(current_settings())
    assert "alert_sensor" not in {sensor.name for sensor in definitions.sensors or ()}


def test_with_mail_the_sensor_runs_by_default(mailing):
    (sensor,) = [one for one in build_definitions(current_settings()).sensors or () if one.name == "alert_sensor"]
    assert sensor.default_status.value == "RUNNING"
    assert timedelta(seconds=sensor.minimum_interval_seconds or 0) <= timedelta(minutes=1)
