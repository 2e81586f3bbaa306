"""A connection to an MQTT broker. Only this module imports paho-mqtt.

paho-mqtt connects, authenticates, sends the last will and the keep-alive, and subscribes. Messages are written to its
socket as prepared packets (`packets`), many at once, and never while a packet of its own waits.

MQTT 5.0 is tried first, because its brokers say how large a message may be, and why they close a connection. Those that
do not know it get MQTT 3.1.1.
"""

from __future__ import annotations

import select
import ssl
import struct
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.exception import MQTTException

from emm_pipeline.errors import BrokerError
from emm_pipeline.mqtt.packets import NO_PROPERTIES
from emm_pipeline.mqtt.topics import OFFLINE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from emm_pipeline.mqtt.broker import Broker

CONNECT_TIMEOUT_S = 5.0
"""Time (s) for the TCP connection, for TLS, and for the broker's reply each."""
KEEP_ALIVE_S = 30
STALLED_AFTER_S = 20.0
"""Time (s) without progress after which a connection counts as lost."""

_CHUNK = 1 << 16
_READS = 200
"""Maximum number of packets that are read at once, so that writing continues."""
_ACCESS = {"bad user name or password", "not authorized"}
_UNKNOWN_VERSION = "unsupported protocol version"
_NO_REASON = {"unspecified error", "normal disconnection", "success"}
_VERSIONS = {NO_PROPERTIES: MQTTProtocolVersion.MQTTv5, b"": MQTTProtocolVersion.MQTTv311}
"""By the end of a message's variable header."""


class _OtherVersionError(BrokerError):
    """The broker refuses the version of MQTT, or has closed the connection instead of replying."""


class Connection:
    """A connection, opened by the constructor.

    Args:
        broker: where, and as whom.
        will: the topic at which the broker publishes `offline` (retained) when the connection is lost, if any.
        on_message: called with topic, payload, and whether it was retained, of each message of a subscription.

    Raises:
        BrokerError: the broker cannot be reached, or refuses; the message says what to check. Like all methods.
    """

    def __init__(self, broker: Broker, will: str | None, on_message: Callable[[str, bytes, bool], None]) -> None:
        self._broker = broker
        self._will = will
        self._receive = on_message
        self._chunks: deque[bytes] = deque()
        self._sent = 0
        self._progress = time.monotonic()
        self._accepted = False
        self._is_refused = False
        self._lost: str | None = None
        self.backlog = 0
        """Number of bytes that wait to be written."""
        self.subscribed = self.is_reading_refused = False
        """Whether the broker has replied to the last subscription, and whether it refuses some of its filters."""
        self.max_packet: int | None = None
        """Maximum length of a packet that the broker accepts, in bytes, if it says one."""
        self.properties = NO_PROPERTIES
        """The end of each message's variable header."""
        try:
            self._client = self._new_client()
            self._open()
        except _OtherVersionError:
            self.properties, self._lost = b"", None
            self._client = self._new_client()
            self._open()

    def _new_client(self) -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"emm-{uuid4().hex[:16]}",
            protocol=_VERSIONS[self.properties],
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        if self._will:
            client.will_set(self._will, OFFLINE, retain=True)
        if self._broker.user:
            client.username_pw_set(self._broker.user, self._broker.password or None)
        return client

    def _open(self) -> None:
        broker = self._broker
        if broker.tls:
            self._client.tls_set_context(broker.tls_context())
        try:
            self._client.connect(broker.host, broker.port, KEEP_ALIVE_S)
            self._lost = None
            deadline = time.monotonic() + CONNECT_TIMEOUT_S
            while not self._accepted:
                if time.monotonic() > deadline:
                    raise self._error(f"does not reply to the login within {CONNECT_TIMEOUT_S:g} s")
                self.pump(0.1)
        except ssl.SSLCertVerificationError as err:
            self._close_socket()
            hint = "MQTT_CA_FILE names the certificate of its issuer"
            raise self._error(f"has a certificate that is not trusted ({err.verify_message}); {hint}") from err
        except (OSError, ValueError) as err:
            self._close_socket()
            reason = getattr(err, "strerror", None) or str(err) or type(err).__name__
            raise self._error(f"cannot be reached ({reason}); check MQTT_URL, and whether it runs") from err
        except BrokerError as err:
            self._close_socket()
            if self.properties and self._lost and not self._is_refused:
                raise _OtherVersionError(str(err)) from None
            raise

    def subscribe(self, filters: Sequence[str]) -> None:
        """Subscribe; `subscribed` is true once the broker has confirmed it. Nothing may wait to be written."""
        self.subscribed = False
        self._client.subscribe([(each, 0) for each in filters])

    def unsubscribe(self, filters: Sequence[str]) -> None:
        """Unsubscribe. Nothing may wait to be written."""
        self._client.unsubscribe(list(filters))

    def send(self, packets: bytes) -> None:
        """Add whole packets to what `pump` writes."""
        view = memoryview(packets)
        self._chunks.extend(bytes(view[at : at + _CHUNK]) for at in range(0, len(packets), _CHUNK))
        if not self.backlog:
            self._progress = time.monotonic()
        self.backlog += len(packets)

    def pump(self, timeout_s: float) -> None:
        """Read and write what is possible, and wait up to `timeout_s` for the first of it."""
        waits = self.backlog > 0 or self._client.want_write()
        if self._select(timeout_s, waits):
            for _ in range(_READS):
                try:
                    self._client.loop_read()
                except (ValueError, LookupError, struct.error, MQTTException) as err:
                    raise self._error(f"sends what is not MQTT ({err}); check the port in MQTT_URL") from err
                self._check()
                if not self._select(0, waits=False):
                    break
        self._write()
        if not self.backlog:
            self._client.loop_misc()
        self._check()

    def _select(self, timeout_s: float, waits: bool) -> bool:
        sock = self._client.socket()
        if sock is None:
            return True
        if isinstance(sock, ssl.SSLSocket) and sock.pending():
            return True
        readable, _, _ = select.select([sock], [sock] if waits else [], [], timeout_s)
        return bool(readable)

    def _write(self) -> None:
        if self._client.want_write():
            self._client.loop_write()
        sock: Any = self._client.socket()
        while self._chunks and sock is not None and not self._client.want_write():
            chunk = self._chunks[0]
            try:
                count = sock.send(memoryview(chunk)[self._sent :])
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                break
            except OSError as err:
                raise self._error(f"has closed the connection ({err.strerror or err})") from err
            self._progress = time.monotonic()
            self.backlog -= count
            self._sent += count
            if self._sent == len(chunk):
                self._chunks.popleft()
                self._sent = 0
        if self.backlog and time.monotonic() - self._progress > STALLED_AFTER_S:
            raise self._error(f"has accepted no data for {STALLED_AFTER_S:g} s")

    def _check(self) -> None:
        if self._lost or self._client.socket() is None:
            raise self._error(self._lost or "has closed the connection")

    def close(self, last: bytes = b"") -> None:
        """Send the last packets if they can be sent at once, and disconnect."""
        if last and not self.backlog:
            with suppress(BrokerError):
                self.send(last)
                deadline = time.monotonic() + 2
                while self.backlog and time.monotonic() < deadline:
                    self.pump(0.1)
        if not self.backlog:
            with suppress(OSError):
                self._client.disconnect()
        self._close_socket()

    def _close_socket(self) -> None:
        """Close without a word, so that the broker publishes the last will."""
        sock = self._client.socket()
        if sock is not None:
            with suppress(OSError):
                sock.close()

    def _error(self, reason: str) -> BrokerError:
        return BrokerError(f"MQTT broker {self._broker} {reason}")

    def _on_connect(self, _client: object, _data: object, _flags: object, code: Any, properties: object) -> None:
        if not code.is_failure:
            self._accepted = True
            self.max_packet = getattr(properties, "MaximumPacketSize", None)
            return
        reason = str(code).lower()
        self._is_refused = reason != _UNKNOWN_VERSION
        hint = "check MQTT_USER and MQTT_PASSWORD" if reason in _ACCESS else "see its log"
        self._lost = f"refuses the connection: {reason}; {hint}"

    def _on_disconnect(self, _client: object, _data: object, _flags: object, code: Any, _properties: object) -> None:
        reason = str(code).lower()
        if code == MQTTErrorCode.MQTT_ERR_KEEPALIVE or reason == "keep alive timeout":
            self._lost = self._lost or "no longer answers"
        known = "" if reason in _NO_REASON else f" ({reason})"
        self._lost = self._lost or f"has closed the connection{known}"

    def _on_message(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        with suppress(UnicodeDecodeError):  # the topic of another program
            self._receive(message.topic, bytes(message.payload), message.retain)

    def _on_subscribe(self, _client: object, _data: object, _mid: int, codes: list[Any], _properties: object) -> None:
        self.subscribed = True
        self.is_reading_refused = any(code.is_failure for code in codes)
