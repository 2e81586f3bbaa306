"""The publisher with a real Mosquitto: what clients receive, also while the broker is unavailable, slow or full."""

import json
import shutil
import subprocess
from datetime import timedelta

import pytest
from support.mosquitto import Mosquitto, StallingProxy, need_program, wait_until
from support.mqtt_installation import OTHER_TYPE, Installation, meter

from emm_pipeline.errors import BrokerError
from emm_pipeline.mqtt import connection, sender
from emm_pipeline.mqtt.broker import Broker
from emm_pipeline.mqtt.topics import level_names

pytestmark = pytest.mark.usefixtures("impatient")


def test_a_poll_is_seen_by_every_client_with_discovery_and_availability(installation, mosquitto):
    with mosquitto.client() as client:
        with installation.running():
            installation.poll(voltageL1=230.5, importActiveEnergy=1234.5)
            wait_until(lambda: len(client.received) >= 5)
        wait_until(lambda: client.received["emm/status"] == "offline")
    received = client.received
    payload = json.loads(received.pop("homeassistant/device/emm/5/config"))
    assert payload["components"].keys() == {"voltageL1", "importActiveEnergy"}
    assert received == {
        "emm/status": "offline",  # it was stopped
        "emm/status/5": "online",
        "emm/5/voltageL1": "230.5",
        "emm/5/importActiveEnergy": "1234.5",
    }
    retained = mosquitto.retained()
    assert retained.keys() == {"homeassistant/device/emm/5/config", "emm/status", "emm/status/5"}


def test_values_are_retained_if_wanted(tmp_path, mosquitto):
    with Installation(tmp_path, mosquitto.port, retain=True).running() as installation:
        installation.poll(voltageL1=230.5)
        wait_until(lambda: mosquitto.retained().get("emm/5/voltageL1") == "230.5")


def test_as_json_a_meter_has_one_message_for_a_poll(tmp_path, mosquitto):
    with mosquitto.client() as client, Installation(tmp_path, mosquitto.port, as_json=True).running() as installation:
        installation.poll(voltageL1=230.5, importActiveEnergy=3.0)
        values = wait_until(lambda: client.received.get("emm/5"))
    assert json.loads(values)["values"] == {"voltageL1": 230.5, "importActiveEnergy": 3}


def test_the_last_will_says_that_a_publisher_was_killed(installation, mosquitto):
    with mosquitto.client() as client:
        made = connection.Connection(installation.broker, "emm/status", lambda *_: None)
        made._close_socket()
        wait_until(lambda: client.received.get("emm/status") == "offline")


def test_a_failed_meter_is_offline_and_online_again_after_its_next_poll(installation, mosquitto):
    with mosquitto.client() as client, installation.running():
        installation.poll(voltageL1=230.0)
        wait_until(lambda: client.received.get("emm/status/5") == "online")
        installation.poll()
        wait_until(lambda: client.received.get("emm/status/5") == "offline")
        installation.poll(voltageL1=231.0)
        wait_until(lambda: client.received.get("emm/status/5") == "online")
        wait_until(lambda: client.received.get("emm/5/voltageL1") == "231")


def test_a_meter_that_is_not_polled_any_more_becomes_unavailable(installation, mosquitto):
    installation.valid_for = timedelta(seconds=1)
    with mosquitto.client() as client, installation.running():
        installation.poll(voltageL1=230.0)
        wait_until(lambda: ("emm/status/5", "online") in client.messages)
        wait_until(lambda: client.received["emm/status/5"] == "offline")


def test_polls_continue_while_the_broker_is_killed_and_values_resume_by_themselves(installation, mosquitto):
    with installation.running():
        installation.wait_until_connected()
        mosquitto.kill()
        stored = sum(installation.poll(voltageL1=float(number)) for number in range(50))
        wait_until(lambda: "cannot be reached" in installation.problem() or "closed" in installation.problem())
        wait_until(lambda: not installation.copies.names())
        mosquitto.start()
        with mosquitto.client() as client:
            wait_until(lambda: client.received.get("emm/status/5") == "online")
            stored += installation.poll(voltageL1=99.0)
            wait_until(lambda: client.received.get("emm/5/voltageL1") == "99")
    assert installation.store.points == stored
    assert len([topic for topic, _ in client.messages if topic == "emm/5/voltageL1"]) <= 2


def test_a_broker_that_stalls_delays_no_poll_and_values_resume_by_themselves(tmp_path, mosquitto, monkeypatch):
    monkeypatch.setattr(sender, "VALUES_PER_S", 10**6)
    proxy = StallingProxy(mosquitto.port)
    installation = Installation(tmp_path, proxy.port)
    levels = level_names((f"measurement{number}", "V") for number in range(20))
    installation.meters = {id_: meter(id_, levels=levels) for id_ in range(300)}
    values = {id_: {f"measurement{number}": 230.123456 for number in range(20)} for id_ in range(300)}
    with mosquitto.client() as client, installation.running():
        installation.wait_until_connected()
        wait_until(lambda: "homeassistant/device/emm/299/config" in client.received)
        proxy.stall.set()
        stored = 0
        while "no data" not in installation.problem() and "reply" not in installation.problem():
            stored += installation.poll_all(values)
        connected = installation.publisher.sender.connection
        assert connected is None or connected.backlog < 10**6
        proxy.stall.clear()
        wait_until(lambda: installation.publisher.state.connected_since)
        stored += installation.poll(7, measurement3=77.0)
        wait_until(lambda: client.received.get("emm/7/measurement3") == "77")
    proxy.close()
    assert installation.store.points == stored


def test_a_broker_that_accepts_no_more_clients_is_reported_and_used_once_it_has_room(tmp_path):
    mosquitto = Mosquitto(tmp_path / "mosquitto", "max_connections 1").start()
    occupant = mosquitto.client()
    try:
        with Installation(tmp_path, mosquitto.port).running() as installation:
            wait_until(installation.problem)
            assert f"MQTT broker mqtt://127.0.0.1:{mosquitto.port}" in installation.problem()
            stored = installation.poll(voltageL1=230.0)
            assert installation.store.points == stored
            occupant.__exit__()
            installation.wait_until_connected()
            assert installation.publisher.state.problem is None
    finally:
        occupant.__exit__()
        mosquitto.kill()


def test_a_broker_without_memory_affects_no_poll(tmp_path):
    mosquitto = Mosquitto(tmp_path / "mosquitto", "memory_limit 100000").start()
    try:
        installation = Installation(tmp_path, mosquitto.port, retain=True)
        installation.meters = {id_: meter(id_) for id_ in range(200)}
        with installation.running():
            stored = sum(installation.poll(id_, voltageL1=230.0, importActiveEnergy=1.0) for id_ in range(200))
            wait_until(lambda: not installation.copies.names())
        assert installation.store.points == stored
    finally:
        mosquitto.kill()


def test_a_wrong_password_is_named_without_showing_it_and_works_once_it_is_right(tmp_path, caplog):
    passwords = tmp_path / "passwords"
    subprocess.run([need_program("mosquitto_passwd"), "-c", "-b", passwords, "emm", "geheim"], check=True)
    passwords.chmod(0o644)
    mosquitto = Mosquitto(tmp_path / "mosquitto", "allow_anonymous false", f"password_file {passwords}").start()
    try:
        installation = Installation(tmp_path, mosquitto.port)
        installation.broker = Broker("127.0.0.1", mosquitto.port, user="emm", password="falsch")
        with installation.running():
            wait_until(installation.problem)
            assert "check MQTT_USER and MQTT_PASSWORD" in installation.problem()
            stored = installation.poll(voltageL1=230.0)
            assert installation.store.points == stored
            installation.broker = Broker("127.0.0.1", mosquitto.port, user="emm", password="geheim")
            with mosquitto.client("-u", "emm", "-P", "geheim") as client:
                wait_until(lambda: client.received.get("emm/5/voltageL1") == "230")
        shown = f"{caplog.text}{installation.broker!r}{(installation.copies.folder / 'state.json').read_text()}"
        assert "falsch" not in shown
        assert "geheim" not in shown
    finally:
        mosquitto.kill()


def test_a_renamed_a_replaced_and_a_removed_meter_change_their_discovery(tmp_path, mosquitto):
    installation = Installation(tmp_path, mosquitto.port, retain=True)
    installation.meters = {5: meter(), 6: meter(6, "Barn")}
    config = "homeassistant/device/emm/5/config"
    with mosquitto.client() as client, installation.running():
        installation.poll(5, voltageL1=230.0, importActiveEnergy=1.0)
        installation.poll(6, voltageL1=230.0)
        wait_until(lambda: "emm/6/voltageL1" in client.received)
        installation.meters = {5: meter(name="Workshop"), 6: meter(6, "Barn")}
        wait_until(lambda: json.loads(client.received[config])["device"]["name"] == "Workshop")
        installation.meters = {5: meter(name="Workshop", levels=OTHER_TYPE, serial_number="9"), 6: meter(6, "Barn")}
        wait_until(lambda: json.loads(client.received[config])["device"].get("serial_number") == "9")
        wait_until(lambda: json.loads(client.received[config])["components"].keys() == {"voltageL1", "temperature"})
        removing = json.loads([payload for topic, payload in client.messages if topic == config][-2])
        assert removing["components"]["importActiveEnergy"] == {"platform": "sensor"}
        installation.meters = {5: installation.meters[5]}
        wait_until(lambda: client.received["homeassistant/device/emm/6/config"] == "")
        wait_until(lambda: client.received["emm/6/voltageL1"] == "")
    assert mosquitto.retained().keys() == {config, "emm/status", "emm/status/5", "emm/5/voltageL1"}


def test_what_was_removed_while_nothing_ran_is_removed_at_the_next_start(tmp_path, mosquitto):
    installation = Installation(tmp_path, mosquitto.port, retain=True)
    installation.meters = {5: meter(), 6: meter(6, "Barn")}
    with mosquitto.client() as client, installation.running():
        installation.poll(6, voltageL1=230.0)
        wait_until(lambda: "emm/6/voltageL1" in client.received)
    mosquitto.publish("emm/garage/door", "open", "-r")
    installation.meters = {5: meter(levels=OTHER_TYPE)}
    config = "homeassistant/device/emm/5/config"
    with mosquitto.client() as client, installation.running():
        wait_until(lambda: "temperature" in json.loads(client.received.get(config, "{}")).get("components", {}))
        wait_until(lambda: "importActiveEnergy" not in json.loads(client.received[config])["components"])
        wait_until(lambda: client.received.get("emm/6/voltageL1") == "")
    assert mosquitto.retained().keys() == {config, "emm/status", "emm/garage/door"}


def test_a_broker_that_has_lost_everything_gets_discovery_and_availability_again(installation, mosquitto):
    with installation.running():
        installation.poll(voltageL1=230.0)
        installation.wait_until_connected()
        wait_until(lambda: "emm/status/5" in mosquitto.retained())
        mosquitto.kill()
        mosquitto.start()
        expected = {"homeassistant/device/emm/5/config": True, "emm/status": "online", "emm/status/5": "online"}
        wait_until(lambda: mosquitto.retained().keys() == expected.keys())


def test_a_database_that_is_unavailable_removes_no_meter(installation, mosquitto):
    with mosquitto.client() as client, installation.running():
        wait_until(lambda: "homeassistant/device/emm/5/config" in client.received)
        installation.meters = None
        wait_until(lambda: "configuration cannot be read" in installation.problem())
        installation.poll(voltageL1=230.0)
        wait_until(lambda: client.received.get("emm/5/voltageL1") == "230")
    assert client.received["homeassistant/device/emm/5/config"] != ""


def test_without_discovery_the_entries_are_removed_and_values_stay(tmp_path, mosquitto):
    mosquitto.publish("homeassistant/device/emm/5/config", "{}", "-r")
    with (
        mosquitto.client() as client,
        Installation(tmp_path, mosquitto.port, discovery=False).running() as installation,
    ):
        installation.poll(voltageL1=230.0)
        wait_until(lambda: client.received.get("emm/5/voltageL1") == "230")
    assert "homeassistant/device/emm/5/config" not in mosquitto.retained()


def test_a_publisher_of_values_only_leaves_status_and_discovery_to_the_main_one(tmp_path, mosquitto):
    mosquitto.publish("emm/status", "online", "-r")
    mosquitto.publish("emm/6/voltageL1", "1", "-r")
    with (
        mosquitto.client() as client,
        Installation(tmp_path, mosquitto.port, values_only=True).running() as installation,
    ):
        installation.poll(voltageL1=230.0)
        wait_until(lambda: client.received.get("emm/5/voltageL1") == "230")
    assert mosquitto.retained() == {"emm/status": "online", "emm/6/voltageL1": "1", "emm/status/5": "online"}


def test_over_tls_with_a_private_certificate(tmp_path):
    certificate, key = tmp_path / "server.pem", tmp_path / "server.key"
    made = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost")
    names = ("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate))
    subprocess.run([*made, *names], check=True, capture_output=True)
    key.chmod(0o644)
    lines = (f"certfile {certificate}", f"keyfile {key}")
    mosquitto = Mosquitto(tmp_path / "mosquitto", listener=lines).start()
    try:
        installation = Installation(tmp_path, mosquitto.port)
        installation.meters = {id_: meter(id_) for id_ in range(500)}
        installation.broker = Broker("127.0.0.1", mosquitto.port, tls=True)
        with installation.running():
            wait_until(lambda: "MQTT_CA_FILE" in installation.problem())
            installation.broker = Broker("127.0.0.1", mosquitto.port, tls=True, ca_file=certificate)
            with mosquitto.client("--cafile", str(certificate)) as client:
                installation.poll(499, voltageL1=230.0)
                wait_until(lambda: client.received.get("emm/499/voltageL1") == "230")
                wait_until(lambda: sum(topic.endswith("/config") for topic in client.received) == 500)
    finally:
        mosquitto.kill()


def test_a_certificate_file_that_cannot_be_read_is_named(tmp_path):
    missing = tmp_path / "missing.pem"
    with pytest.raises(BrokerError, match=r"MQTT_CA_FILE=.*missing\.pem"):
        connection.Connection(Broker("127.0.0.1", 1, tls=True, ca_file=missing), None, lambda *_: None)


def test_a_folder_that_was_deleted_is_created_again(installation, mosquitto):
    with mosquitto.client() as client, installation.running():
        installation.wait_until_connected()
        shutil.rmtree(installation.copies.folder)
        wait_until(installation.copies.folder.is_dir)
        installation.poll(voltageL1=230.0)
        wait_until(lambda: client.received.get("emm/5/voltageL1") == "230")


def test_a_last_will_that_comes_late_does_not_leave_the_installation_offline(installation, mosquitto):
    """A broker notices the end of a connection up to 45 s late if the network failed: after the next one began."""
    with mosquitto.client() as client, installation.running():
        wait_until(lambda: client.received.get("emm/status") == "online")
        mosquitto.publish("emm/status", "offline", "-r")
        wait_until(lambda: ("emm/status", "offline") in client.messages and client.received["emm/status"] == "online")


def test_a_row_that_is_invalid_for_a_while_removes_no_retained_value(tmp_path, mosquitto):
    installation = Installation(tmp_path, mosquitto.port, retain=True)
    with mosquitto.client() as client, installation.running():
        installation.poll(voltageL1=230.5)
        wait_until(lambda: client.received.get("emm/5/voltageL1") == "230.5")
        installation.meters = {5: meter(levels={}), 6: meter(6)}
        wait_until(lambda: "homeassistant/device/emm/6/config" in client.received)
    assert mosquitto.retained()["emm/5/voltageL1"] == "230.5"


def test_messages_of_other_programs_do_not_stop_publishing(installation, mosquitto):
    mosquitto.publish(f"emm/status/{'9' * 5000}", "online", "-r")
    mosquitto.publish("homeassistant/device/emm/5/config", "[" * 100_000, "-r")
    with mosquitto.client() as client, installation.running():
        installation.poll(voltageL1=230.5)
        wait_until(lambda: client.received.get("emm/5/voltageL1") == "230.5")
