"""The publisher: takes the copies of the outbox's batches, and publishes their values; the loop of `emm mqtt`.

It is a process of its own, because a poll's process lives for a minute only, while a last will needs a connection that
lasts, and because a broker that is slow or away must not delay a poll. It reads the configuration once a minute.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING

from emm_pipeline.errors import BrokerError, ConfigDatabaseError
from emm_pipeline.mqtt.connection import Connection
from emm_pipeline.mqtt.packets import header, packet
from emm_pipeline.mqtt.pending import Pending, Sent
from emm_pipeline.mqtt.retained import Retained
from emm_pipeline.mqtt.state import PublisherState
from emm_pipeline.mqtt.topics import OFFLINE, ONLINE, Topics
from emm_pipeline.stores.outbox.file import DamagedFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from emm_pipeline.mqtt.connection import Broker
    from emm_pipeline.mqtt.meters import PublishedMeter
    from emm_pipeline.stores.outbox.copies import BatchCopies

RELOAD_S = 60.0
"""Time (s) after which the configuration is read again."""
STATE_S = 10.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
"""Pauses (s) between attempts to connect; each is twice as long as the one before."""
TICK_S = 0.5
"""Time (s) after which new copies are looked for."""
QUIET_S, SWEEP_S = 0.5, 30.0
"""The broker has sent all retained messages when none came for QUIET_S, or after SWEEP_S at the latest."""
HIGH_WATER = 1 << 18
"""Number of bytes that may wait for the broker. What is behind them waits as values, which newer ones replace."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """What is published, and how.

    A `values_only` publisher, on a further host of the same installation, leaves status and discovery to the main one.
    """

    topics: Topics
    version: str = ""
    discovery: bool = True
    as_json: bool = False
    retain: bool = False
    values_only: bool = False


class Publisher:
    """Publishes until `stop` returns true.

    Args:
        copies: where the polls leave their batches; the folder must exist.
        load_meters: returns the meters; raises ConfigDatabaseError.
        broker: returns address and login, which may have changed since the last connection.
        valid_for: returns the time for which a value counts as current.
        options: what is published.
    """

    def __init__(
        self,
        copies: BatchCopies,
        load_meters: Callable[[], Mapping[int, PublishedMeter]],
        broker: Callable[[], Broker],
        valid_for: Callable[[], timedelta],
        options: Options,
    ) -> None:
        self._copies = copies
        self._load_meters = load_meters
        self._broker = broker
        self._valid_for = valid_for
        self._options = options
        self._meters: Mapping[int, PublishedMeter] | None = None
        self._reload_at = 0.0
        self._pending = Pending(options.topics, as_json=options.as_json, retain=options.retain)
        self._retained = Retained(
            options.topics,
            options.version,
            discovery=options.discovery,
            as_json=options.as_json,
            retain=options.retain,
        )
        self._connection: Connection | None = None
        self._attempt_at, self._pause_s = 0.0, FIRST_PAUSE_S
        self._sweep_ends: float | None = None
        self._last_found = 0.0
        self._problems: dict[str, tuple[str, datetime]] = {}
        self._state_at = 0.0
        now = datetime.now(UTC)
        self.state = PublisherState(str(broker()), now, now)

    def run(self, stop: Callable[[], bool]) -> None:
        """Publish until `stop` returns true; then report this installation as offline."""
        try:
            while not stop():
                self.step()
        finally:
            if self._connection:
                self._connection.close(self._status_packet(OFFLINE))
            self.state.connected_since = None
            self._note("broker", "it was stopped")
            self._write_state()

    def step(self) -> None:
        """Do what is due; wait up to TICK_S if that is nothing."""
        if time.monotonic() >= self._reload_at:
            self._reload()
        if self._meters is not None:
            self._take_copies()
        if self._connection is None and self._meters is not None and time.monotonic() >= self._attempt_at:
            self._connect()
        if self._connection is None:
            time.sleep(TICK_S)
        else:
            self._exchange(self._connection)
        if time.monotonic() >= self._state_at:
            self._pending.expire(_now_ms() - int(self._valid_for().total_seconds() * 1000))
            self._write_state()

    def _reload(self) -> None:
        self._reload_at = time.monotonic() + RELOAD_S
        try:
            meters = self._load_meters()
        except ConfigDatabaseError as err:
            # Nothing is known of the meters, which is not the same as no meters: all stay as they are.
            self._note("configuration", f"the configuration cannot be read: {err}")
            return
        self._note("configuration", None)
        if meters != self._meters:
            self._meters = meters
            self._pending.set_meters(meters, _now_ms())
            if not self._options.values_only:
                self._retained.set_meters(meters)
            self.state.meters = len(meters)

    def _take_copies(self) -> None:
        try:
            for name in self._copies.names():
                try:
                    self._pending.add(self._copies.take(name), _now_ms())
                except (DamagedFileError, FileNotFoundError) as err:  # a poll removes what is too old
                    _log.warning("%s was not published: %s", name, err)
        except OSError as err:
            self._note("folder", f"{self._copies.folder} cannot be read: {err.strerror or err}")
            with suppress(OSError):  # a person may have deleted it
                self._copies.folder.mkdir(parents=True, exist_ok=True)
            return
        self._note("folder", None)

    def _connect(self) -> None:
        will = None if self._options.values_only else self._options.topics.status
        broker = self._broker()
        self.state.broker = str(broker)
        try:
            self._connection = Connection(broker, will, self._found)
            if not self._options.values_only:
                self._retained.forget()
                self._connection.subscribe(self._options.topics.retained)
                self._sweep_ends = time.monotonic() + SWEEP_S
        except BrokerError as err:
            self._lost(err)
            return
        _log.info("connected to %s", broker)
        self._pause_s = FIRST_PAUSE_S
        self._note("broker", None)
        self.state.connected_since = datetime.now(UTC)
        self._last_found = time.monotonic()
        self._pending.repeat_availability()
        self._connection.send(self._status_packet(ONLINE))
        self._write_state()

    def _lost(self, err: BrokerError) -> None:
        self._note("broker", str(err))
        if self._connection:
            self._connection.close()
        self._connection, self._sweep_ends = None, None
        self.state.connected_since = None
        self._attempt_at = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        self._write_state()

    def _exchange(self, connection: Connection) -> None:
        try:
            if self._sweep_ends is not None:
                self._sweep(connection, self._sweep_ends)
            else:
                self._feed(connection)
            connection.pump(TICK_S)
        except BrokerError as err:
            self._lost(err)

    def _found(self, topic: str, payload: bytes) -> None:
        self._last_found = time.monotonic()
        self._retained.found(topic, payload)

    def _sweep(self, connection: Connection, ends: float) -> None:
        """Wait until the broker has sent all retained messages. Until then nothing is published."""
        now = time.monotonic()
        complete = connection.subscribed and now - self._last_found > QUIET_S
        if (complete or now > ends) and not connection.backlog:
            connection.unsubscribe(self._options.topics.retained)
            self._retained.all_found()
            self._sweep_ends = None

    def _feed(self, connection: Connection) -> None:
        while connection.backlog < HIGH_WATER:
            sent = list(islice(self._next(), 100))
            if not sent:
                return
            connection.send(b"".join(each.data for each in sent))
            self.state.messages += sum(each.messages for each in sent)
            self.state.last_message_at = datetime.now(UTC)

    def _next(self) -> Iterator[Sent]:
        for topic, payload in self._retained.take():
            yield Sent(packet(header(topic), payload, retain=True), 1)
        yield from self._pending.take()

    def _status_packet(self, payload: bytes) -> bytes:
        if self._options.values_only:
            return b""
        return packet(header(self._options.topics.status), payload, retain=True)

    def _note(self, subject: str, problem: str | None) -> None:
        """Record what is wrong with a part, or that it is right again; log each change once."""
        before = self._problems.get(subject)
        if problem is None:
            if self._problems.pop(subject, None) and subject != "broker":
                _log.info("%s: OK again", subject)
        elif before is None or before[0] != problem:
            _log.warning("%s", problem)
            self._problems[subject] = (problem, before[1] if before else datetime.now(UTC))
        first = next(iter(self._problems.values()), None)
        self.state.problem, self.state.problem_since = first or (None, None)

    def _write_state(self) -> None:
        self._state_at = time.monotonic() + STATE_S
        self.state.updated_at = datetime.now(UTC)
        self.state.dropped = self._pending.dropped
        self.state.write(self._copies.folder)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
