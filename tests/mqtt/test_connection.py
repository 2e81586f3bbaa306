"""Brokers that know only MQTT 3.1.1, limit the size of messages, close connections, or are no brokers."""

import json
import socket
import threading
import time
from contextlib import contextmanager, suppress

import pytest
from support.mosquitto import Mosquitto, wait_until
from support.mqtt_installation import Installation, meter

from emm_pipeline.errors import BrokerError
from emm_pipeline.mqtt import connection, sender
from emm_pipeline.mqtt.broker import Broker
from emm_pipeline.mqtt.connection import Connection
from emm_pipeline.mqtt.topics import level_names

pytestmark = pytest.mark.usefixtures("impatient")

LARGE = level_names((f"measurement{number}", "V") for number in range(200))
CONNECT, PUBLISH, SUBSCRIBE, UNSUBSCRIBE, PING = 0x10, 0x30, 0x82, 0xA2, 0xC0


class OldBroker:
    """A broker of the year 2014: it knows MQTT 3.1.1 only, and reads packets of fewer than 128 bytes only.

    It closes the connection when it gets a larger one, and when it gets another version of MQTT: `how_it_refuses`.
    """

    def __init__(self, how_it_refuses: bytes) -> None:
        self.messages: dict[str, str] = {}
        self.connections = 0
        self._refusal = how_it_refuses
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client, client.makefile("rb") as stream:
            while head := stream.read(2):
                if head[1] >= 128:
                    return
                body = stream.read(head[1])
                if head[0] == CONNECT and body[6] == 5:
                    client.sendall(self._refusal)
                    return
                if head[0] == CONNECT:
                    self.connections += 1
                    client.sendall(b"\x20\x02\x00\x00")
                elif head[0] & 0xF0 == PUBLISH:
                    size = body[0] * 256 + body[1]
                    self.messages[body[2 : 2 + size].decode()] = body[2 + size :].decode()
                elif head[0] in {SUBSCRIBE, UNSUBSCRIBE}:
                    kind = b"\x90\x03" if head[0] == SUBSCRIBE else b"\xb0\x02"
                    client.sendall(kind + body[:2] + (b"\x00" if head[0] == SUBSCRIBE else b""))
                elif head[0] == PING:
                    client.sendall(b"\xd0\x00")

    def close(self) -> None:
        self._server.close()


@contextmanager
def old_broker(how_it_refuses: bytes = b"\x20\x02\x00\x01"):
    broker = OldBroker(how_it_refuses)
    try:
        yield broker
    finally:
        broker.close()


@pytest.mark.parametrize("how_it_refuses", [b"\x20\x02\x00\x01", b""])
def test_a_broker_that_knows_only_mqtt_3_gets_the_same_messages(tmp_path, how_it_refuses):
    with old_broker(how_it_refuses) as broker:
        installation = Installation(tmp_path, broker.port, discovery=False)
        with installation.running():
            installation.wait_until_connected()
            installation.poll(voltageL1=230.5)
            wait_until(lambda: broker.messages.get("emm/5/voltageL1") == "230.5")
        wait_until(lambda: broker.messages.get("emm/status") == "offline")
    assert broker.messages == {"emm/status": "offline", "emm/status/5": "online", "emm/5/voltageL1": "230.5"}


def test_a_broker_that_closes_the_connection_at_each_discovery_gets_values_and_is_not_flooded(tmp_path, monkeypatch):
    monkeypatch.setattr(sender, "LONGEST_PAUSE_S", 1.0)
    with old_broker() as broker:
        installation = Installation(tmp_path, broker.port)
        with installation.running():
            sent = iter(range(10**6))
            wait_until(lambda: installation.poll(voltageL1=float(next(sent))) and "emm/5/voltageL1" in broker.messages)
            wait_until(lambda: "closed the connection" in installation.problem())
            wait_until(lambda: installation.publisher.sender.pause_s == 1.0)
    assert broker.connections <= 10


def test_a_message_that_is_larger_than_the_broker_accepts_is_left_out_and_the_rest_is_published(tmp_path):
    mosquitto = Mosquitto(tmp_path / "mosquitto", "max_packet_size 5000").start()
    try:
        installation = Installation(tmp_path, mosquitto.port)
        installation.meters = {5: meter(), 6: meter(6, levels=LARGE)}
        with mosquitto.client() as client, installation.running():
            wait_until(lambda: "homeassistant/device/emm/5/config" in client.received)
            installation.poll(6, measurement7=7.5)
            wait_until(lambda: client.received.get("emm/6/measurement7") == "7.5")
            wait_until(lambda: "max_packet_size" in installation.problem())
            assert "up to 5000 bytes" in installation.problem()
            assert "homeassistant/device/emm/6/config" in installation.problem()
            installation.meters = {5: meter(), 6: meter(6)}
            wait_until(lambda: "homeassistant/device/emm/6/config" in client.received)
            wait_until(lambda: not installation.problem())
    finally:
        mosquitto.kill()


def test_a_broker_that_drops_large_messages_keeps_the_connection_and_gets_the_values(tmp_path):
    mosquitto = Mosquitto(tmp_path / "mosquitto", "message_size_limit 2000").start()
    try:
        installation = Installation(tmp_path, mosquitto.port)
        installation.meters = {5: meter(), 6: meter(6, levels=LARGE)}
        with mosquitto.client() as client, installation.running():
            for value in (1.0, 2.0):
                installation.poll(6, measurement7=value)
                wait_until(lambda value=value: client.received.get("emm/6/measurement7") == f"{value:g}")
            assert json.loads(client.received["homeassistant/device/emm/5/config"])
    finally:
        mosquitto.kill()


@contextmanager
def server_that_sends(data: bytes):
    """A server that is no MQTT broker."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client, _ = server.accept()
                    client.sendall(data)
                    time.sleep(0.2)
                    client.close()

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"220 mail ESMTP\r\n",
        b"\x20\x7f" + b"\xff" * 127,
        b"\x20\x02\x00\x00\x30\xff\xff\xff\xff\x7f",
        b"\x20\x02\x00\x00\x30\x04\x00\x02\xff\xfe",
        b"\x20\x03\x00\x00\x00\xe0\x01\x01",
        b"",
    ],
)
def test_a_server_that_is_no_broker_is_reported_and_harms_nothing(tmp_path, data):
    with server_that_sends(data) as port:
        installation = Installation(tmp_path, port)
        with installation.running():
            wait_until(installation.problem)
            assert f"mqtt://127.0.0.1:{port}" in installation.problem()
            assert installation.poll(voltageL1=230.0) == installation.store.points


def test_a_broker_that_accepts_connections_and_does_not_reply_is_reported(monkeypatch):
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        broker = Broker("127.0.0.1", server.getsockname()[1])
        with pytest.raises(BrokerError, match=r"does not reply to the login within 0\.3 s"):
            Connection(broker, None, lambda *_: None)
