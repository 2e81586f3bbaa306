"""The connection to the broker: opened again after a pause when it is lost, and what is sent over it."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from emm_pipeline.errors import BrokerError, ConfigurationError
from emm_pipeline.mqtt.connection import Connection
from emm_pipeline.mqtt.discovery import discovery_payload
from emm_pipeline.mqtt.pace import Pace
from emm_pipeline.mqtt.packets import header, packet
from emm_pipeline.mqtt.pending import Pending, Sent
from emm_pipeline.mqtt.retained import Retained
from emm_pipeline.mqtt.topics import OFFLINE, ONLINE, Topics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from emm_pipeline.mqtt.broker import Broker
    from emm_pipeline.mqtt.state import Problems, PublisherState

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
"""Pauses (s) between attempts to connect; each is twice as long as the one before."""
STABLE_S = 60.0
"""Time (s) after which a lost connection counts as a new problem, so that the first pause is short again."""
QUIET_S, SWEEP_S = 0.5, 30.0
"""The broker has sent all retained messages when none came for QUIET_S, or after SWEEP_S at the latest."""
HIGH_WATER = 1 << 18
"""Number of bytes that may wait for the broker. What is behind them waits as values, which newer ones replace."""
DISCOVERIES_PER_S, VALUES_PER_S = 100, 5000
"""Limits of messages: Mosquitto drops those for clients that are slow once 1000 wait (max_queued_messages)."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """Options of publishing.

    A `values_only` publisher, on a further host of the same installation, leaves status and discovery to the main one.
    """

    topics: Topics
    version: str = ""
    discovery: bool = True
    as_json: bool = False
    retain: bool = False
    values_only: bool = False
    expires_after_s: int | None = None


class Sender:
    """Sends what is pending and what should be retained.

    Args:
        broker: returns address and login, which may have changed since the last connection.
        options: what is published.
        state: counts the messages, and tells since when the broker is connected.
        problems: where the reason is noted why it is not.
    """

    def __init__(
        self,
        broker: Callable[[], Broker],
        options: Options,
        state: PublisherState,
        problems: Problems,
    ) -> None:
        self._broker = broker
        self._options = options
        self.pending = Pending(options.topics, as_json=options.as_json, retain=options.retain)
        """Values and availability."""
        describe = partial(
            discovery_payload,
            topics=options.topics,
            version=options.version,
            as_json=options.as_json,
            expires_after_s=options.expires_after_s,
        )
        self.retained = Retained(
            options.topics, describe if options.discovery else None, as_json=options.as_json, retain=options.retain
        )
        """The other retained messages."""
        self._state = state
        self._problems = problems
        self.connection: Connection | None = None
        """The open connection, if there is one."""
        self._properties = b""
        self._attempt_at = 0.0
        self.pause_s = FIRST_PAUSE_S
        """Time (s) until the next attempt, if the connection is lost."""
        self._connected_at = self._last_found = 0.0
        self._values_first = False
        self._sweep_ends: float | None = None
        self._status_is_wrong = False
        self._too_large: set[str] = set()
        self._values_pace, self._discoveries_pace = Pace(VALUES_PER_S), Pace(DISCOVERIES_PER_S)

    def exchange(self, timeout_s: float) -> None:
        """Connect if it is time for it; send and receive what is possible, and wait up to `timeout_s` for more."""
        if self.connection is None and time.monotonic() >= self._attempt_at:
            self._connect()
        if self.connection is None:
            time.sleep(timeout_s)
            return
        try:
            if self._status_is_wrong:
                self._status_is_wrong = False
                self.connection.send(self._status(ONLINE))
            if self._sweep_ends is not None:
                self._sweep(self.connection, self._sweep_ends)
            else:
                self._feed(self.connection)
            self.connection.pump(timeout_s)
        except BrokerError as err:
            self._lost(err)

    def close(self) -> None:
        """Report this installation as offline, and disconnect."""
        if self.connection:
            self.connection.close(self._status(OFFLINE))
        self.connection, self._state.connected_since = None, None

    def _connect(self) -> None:
        topics, values_only = self._options.topics, self._options.values_only
        self._connected_at = time.monotonic()
        try:
            broker = self._broker()
            self._state.broker = str(broker)
            connection = Connection(broker, None if values_only else topics.status, self._found)
            connection.subscribe([topics.availabilities, *(() if values_only else (topics.status, *topics.retained))])
        except (BrokerError, ConfigurationError) as err:  # the settings were changed, and are invalid now
            self._lost(err)
            return
        _log.info("connected to %s", broker)
        self._problems.note("broker", None)
        self.connection, self._properties = connection, connection.properties
        self._too_large.clear()
        self.retained.forget()
        self.pending.start_again(connection.properties)
        self._state.connected_since = datetime.now(UTC)
        self._last_found = time.monotonic()
        self._sweep_ends = self._last_found + SWEEP_S
        self._status_is_wrong = False
        connection.send(self._status(ONLINE))

    def _lost(self, err: Exception) -> None:
        self._problems.note("broker", str(err))
        if self.connection:
            self.connection.close()
        self.connection, self._sweep_ends, self._state.connected_since = None, None, None
        now = time.monotonic()
        # A broker may close the connection at a message that it does not accept: then values are sent before it.
        self._values_first = now - self._connected_at < STABLE_S
        if not self._values_first:
            self.pause_s = FIRST_PAUSE_S
        self._attempt_at = now + self.pause_s
        self.pause_s = min(2 * self.pause_s, LONGEST_PAUSE_S)

    def _found(self, topic: str, payload: bytes, retained: bool) -> None:
        self.pending.found(topic, payload)
        # A broker that did not notice the end of an earlier connection publishes its last will after this one began.
        if topic == self._options.topics.status and payload != ONLINE and not retained:
            self._status_is_wrong = not self._options.values_only
        if retained:
            self._last_found = time.monotonic()
            self.retained.found(topic, payload)

    def _sweep(self, connection: Connection, ends: float) -> None:
        """Wait until the broker has sent all retained messages. Until then nothing is published."""
        now = time.monotonic()
        complete = connection.subscribed and now - self._last_found > QUIET_S
        if (complete or now > ends) and not connection.backlog:
            if not self._options.values_only:
                connection.unsubscribe(self._options.topics.retained)
                self.retained.all_found()
            self.pending.all_found()
            self._sweep_ends = None
            refused = (
                f"MQTT broker {self._state.broker} lets this user read no topics, so messages of removed meters stay"
            )
            self._problems.note("rights", refused if connection.is_reading_refused else None)

    def _feed(self, connection: Connection) -> None:
        limit = connection.max_packet
        parts = [
            (self._removals(), self._values_pace),
            (self._discoveries(limit), self._discoveries_pace),
            (self._values(limit), self._values_pace),
        ]
        for source, pace in reversed(parts) if self._values_first else parts:
            self._send(connection, source, pace)
        self._problems.note("size", self._what_is_too_large(limit) if self._too_large else None)

    def _send(self, connection: Connection, source: Iterator[Sent], pace: Pace) -> None:
        while connection.backlog < HIGH_WATER and (left := pace.left(time.monotonic())) > 0:
            sent, messages = [], 0
            for each in islice(source, 100):
                sent.append(each.data)
                messages += each.messages
                if messages >= left:
                    break
            if not sent:
                return
            connection.send(b"".join(sent))
            pace.use(messages)
            self._state.messages += messages
            self._state.last_message_at = datetime.now(UTC)

    def _removals(self) -> Iterator[Sent]:
        for topic in self.retained.take_removals():
            self._too_large.discard(topic)
            yield Sent(packet(header(topic, self._properties), b"", retain=True), 1)

    def _discoveries(self, limit: int | None) -> Iterator[Sent]:
        for topic, payloads in self.retained.take_discoveries():
            packets = [packet(header(topic, self._properties), payload, retain=True) for payload in payloads]
            accepted = [each for each in packets if limit is None or len(each) <= limit]
            if packets[-1] in accepted:
                self._too_large.discard(topic)
            else:
                self._too_large.add(topic)
            yield Sent(b"".join(accepted), len(accepted))

    def _values(self, limit: int | None) -> Iterator[Sent]:
        for sent in self.pending.take():
            if limit is not None and sent.messages == 1 and len(sent.data) > limit:
                self._too_large.add("the values of a meter as JSON")
            else:
                yield sent

    def _what_is_too_large(self, limit: int | None) -> str:
        first = min(self._too_large)
        more = f" and {len(self._too_large) - 1} more" if len(self._too_large) > 1 else ""
        return (
            f"the broker accepts messages of up to {limit} bytes, so these are not sent: {first}{more}; "
            "raise its limit (Mosquitto: max_packet_size)"
        )

    def _status(self, payload: bytes) -> bytes:
        if self._options.values_only:
            return b""
        return packet(header(self._options.topics.status, self._properties), payload, retain=True)
