"""`emm mqtt` and `emm mqtt status` as processes, with a real broker, database and outbox."""

import json
import signal

import pytest
from support.meters import SimulatedUnit, encode_value, holding
from support.mosquitto import wait_until

from emm_pipeline.fleet import DataType


@pytest.fixture
def meters(config_engine, simulated_gateway):
    """Meter 1 with one register."""
    port = simulated_gateway({1: SimulatedUnit(holding(0, encode_value(230.5, DataType.FLOAT)))}).port
    with config_engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO registers VALUES ('t', 0, 'voltageL1', 'V', 3, 3, 2, 2)")
        connection.exec_driver_sql(f"INSERT INTO energy_meters VALUES (1, '127.0.0.1', {port}, 1, 't', 'Garage')")
    return config_engine


@pytest.fixture
def publishing(emm, mosquitto, meters):
    """A running `emm mqtt`."""
    emm.settings["MQTT_URL"] = mosquitto.url
    process = emm.start("mqtt")
    yield process
    process.kill()
    process.wait()


def test_a_poll_is_published_and_its_points_are_stored(emm, mosquitto, publishing):
    with mosquitto.client() as client:
        wait_until(lambda: client.received.get("emm/status") == "online")
        assert emm("poll", "1").returncode == 0
        wait_until(lambda: client.received.get("emm/1/voltageL1") == "230.5")
        assert json.loads(client.received["homeassistant/device/emm/1/config"])["device"]["name"] == "Garage"
        result = wait_until(lambda: "1 meter published to" in (done := emm("mqtt", "status")).stdout and done)
        assert result.returncode == 0
        assert f"MQTT: 1 meter published to {mosquitto.url}: " in " ".join(emm("status").stdout.split())
        publishing.send_signal(signal.SIGTERM)
        assert publishing.wait(30) == 0
        wait_until(lambda: client.received["emm/status"] == "offline")
    stopped = json.loads(emm("mqtt", "status", "--json").stdout)
    assert stopped["state"] == "stale"
    assert stopped["reason"] == "`emm mqtt` does not run"
    assert stopped["publisher"]["messages"] >= 3
    assert "1 of 1 meters read, 1 points, stored" in emm("poll", "1").stdout


def test_a_killed_publisher_is_reported_offline_by_the_broker(mosquitto, publishing):
    with mosquitto.client() as client:
        wait_until(lambda: client.received.get("emm/status") == "online")
        publishing.kill()
        wait_until(lambda: client.received["emm/status"] == "offline")


def test_a_second_publisher_for_the_same_outbox_is_refused(emm, mosquitto, publishing):
    with mosquitto.client() as client:
        wait_until(lambda: client.received.get("emm/status") == "online")
        second = emm("mqtt")
    assert second.returncode == 2
    assert "another `emm mqtt` publishes from" in second.stderr


def test_polls_are_stored_while_the_broker_is_unavailable_and_the_status_says_so(emm, mosquitto, publishing):
    mosquitto.kill()
    assert "1 points, stored" in emm("poll", "1").stdout
    status = wait_until(lambda: (done := emm("mqtt", "status")).returncode == 1 and "broker" in done.stdout and done)
    assert f"MQTT broker {mosquitto.url}" in status.stdout
    assert "it then connects by itself, and polls are not affected" in status.stdout
    everything = json.loads(emm("status", "--json").stdout)
    (part,) = [part for part in everything["parts"] if part["name"] == "MQTT"]
    assert part["status"] == "degraded"
    assert mosquitto.url in part["reason"]


def test_without_a_broker_nothing_is_published_and_that_is_fine(emm):
    status = emm("mqtt", "status")
    assert (status.returncode, status.stdout) == (0, "MQTT off: MQTT_URL is empty\n")
    assert "MQTT" not in emm("status").stdout
    assert "MQTT_URL is not set" in emm("mqtt").stderr


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("MQTT_URL", "mqtt://me:geheim@broker", "MQTT_USER and MQTT_PASSWORD"),
        ("MQTT_URL", "http://broker", "allowed: mqtt://host:port"),
        ("MQTT_URL", "mqtt://broker:70000", "allowed ports: 1 to 65535"),
        ("MQTT_TOPIC_PREFIX", "emm/#", "letters, digits"),
        ("MQTT_FORMAT", "xml", "MQTT_FORMAT"),
    ],
)
def test_an_invalid_setting_is_named_without_the_password(emm, name, value, reason):
    done = emm("mqtt", **{"MQTT_URL": "mqtt://broker", name: value})
    assert done.returncode == 2
    assert reason in done.stderr
    assert "geheim" not in done.stdout + done.stderr
    assert "geheim" not in emm("settings", **{name: value}).stdout
