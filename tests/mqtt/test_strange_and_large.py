"""Names that break topics, fleets that are large, clients that are slow, and brokers that restart again and again."""

import json
import threading

import jinja2
import psutil
import pytest
from support.mosquitto import wait_until
from support.mqtt_installation import Installation, meter

from emm_pipeline.mqtt import sender
from emm_pipeline.mqtt.topics import level_names

pytestmark = pytest.mark.usefixtures("impatient")

STRANGE = [
    "Zähler Ψ",
    "a/b",
    "/",
    "#",
    "+",
    "a+b#c",
    "100%",
    "%2F",
    "$SYS",
    "..",
    " ",
    "tab\there",
    "wide 電力 🔌",
    "rtl \u202e\u05d0",
    "nonchar \ufdd0",
    '{{ "x" }} {% raw %}',
    "quote \" ' `",
    "x" * 20_000,
    "é" * 10_000,
    "x" * 19_999 + "y",
]


def strange_meter():
    series = [*((name, "V") for name in STRANGE), ("twice", "u/#+"), ("twice", "%"), ("twice", None)]
    return meter(5, name='Kü/che #1 + "{{ x }}"', levels=level_names(series))


@pytest.mark.parametrize("as_json", [False, True])
def test_any_name_reaches_home_assistant_with_its_value_and_can_be_removed(tmp_path, mosquitto, as_json):
    installation = Installation(tmp_path, mosquitto.port, retain=True, as_json=as_json)
    installation.meters = {5: strange_meter()}
    config = "homeassistant/device/emm/5/config"
    with installation.running():
        installation.poll(**{name: float(number) for number, name in enumerate(STRANGE)})
        topics = wait_until(
            lambda: (
                (found := mosquitto.retained()).keys() >= {config, "emm/status/5"}
                and len(found) > (3 if as_json else len(STRANGE) + 2)
                and found
            )
        )
        discovery = json.loads(topics[config])
        assert discovery["device"]["name"] == 'Kü/che #1 + "{{ x }}"'
        assert len(discovery["components"]) == len(STRANGE) + 3
        values = {}
        for sensor in discovery["components"].values():
            text = topics.get(sensor["state_topic"])
            if as_json:
                template = jinja2.Environment(autoescape=False).from_string(sensor["value_template"])
                text = template.render(value_json=json.loads(text))
            values[sensor["name"]] = text
        assert [values[name] for name in STRANGE] == [str(number) + ".0" * as_json for number in range(len(STRANGE))]
        installation.meters = {}
        wait_until(lambda: mosquitto.retained().keys() == {"emm/status"})


def test_a_client_gets_the_discovery_of_every_meter_of_a_large_fleet_and_all_values(tmp_path, mosquitto, monkeypatch):
    """Mosquitto drops messages for a client once 1000 wait for it, so they must not be sent all at once."""
    monkeypatch.setattr(sender, "DISCOVERIES_PER_S", 500)
    levels = level_names((f"measurement{number}", "kWh") for number in range(20))
    installation = Installation(tmp_path, mosquitto.port)
    installation.meters = {id_: meter(id_, levels=levels) for id_ in range(3000)}
    values = {f"measurement{number}": float(number) for number in range(20)}
    with mosquitto.client() as client, installation.running():
        wait_until(lambda: sum(topic.endswith("/config") for topic in client.received) == 3000)
        installation.poll_all(dict.fromkeys(range(1000), values))
        expected = {f"emm/{id_}/{name}" for id_ in range(1000) for name in values}
        wait_until(lambda: expected <= client.received.keys())
        assert installation.publisher.state.dropped == 0


def test_a_broker_that_restarts_again_and_again_affects_no_value_in_the_store_and_leaks_nothing(tmp_path, mosquitto):
    installation = Installation(tmp_path, mosquitto.port, retain=True)
    stored = 0
    with installation.running():
        installation.wait_until_connected()
        threads, files = threading.active_count(), psutil.Process().num_fds()
        for number in range(10):
            mosquitto.kill()
            stored += installation.poll(voltageL1=float(number))
            mosquitto.start()
            stored += installation.poll(voltageL1=float(number))
            installation.wait_until_connected()
        stored += installation.poll(voltageL1=77.0)
        expected = {"homeassistant/device/emm/5/config", "emm/status", "emm/status/5", "emm/5/voltageL1"}
        wait_until(lambda: (found := mosquitto.retained()).keys() == expected and found["emm/5/voltageL1"] == "77")
        wait_until(lambda: threading.active_count() <= threads)
        assert psutil.Process().num_fds() <= files + 2
    assert installation.store.points == stored


def test_two_hosts_that_poll_the_same_meters_agree_about_their_availability(tmp_path, mosquitto):
    """Celery may give a meter to any host; the second publisher runs with --values-only."""
    first = Installation(tmp_path / "first", mosquitto.port)
    second = Installation(tmp_path / "second", mosquitto.port, values_only=True)
    first.polled = second.polled = {5: 2**53}
    with mosquitto.client() as client, first.running(), second.running():
        for installation in (first, second):
            installation.wait_until_connected()
        first.poll(voltageL1=1.0)
        wait_until(lambda: client.received.get("emm/5/voltageL1") == "1")
        second.poll()
        wait_until(lambda: client.received.get("emm/status/5") == "offline")
        first.poll(voltageL1=2.0)
        wait_until(lambda: client.received.get("emm/status/5") == "online")
        second.poll(voltageL1=3.0)
        wait_until(lambda: client.received.get("emm/5/voltageL1") == "3")
    assert client.received["emm/status/5"] == "online"
