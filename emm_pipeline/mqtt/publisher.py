"""The publisher: takes the copies of the outbox's batches, and publishes their values; the loop of `emm mqtt`.

It is a process of its own, because a poll's process lives for a minute only, while a last will needs a connection that
lasts, and because a broker that is slow or away must not delay a poll. It reads the configuration once a minute.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from emm_pipeline.errors import ConfigDatabaseError
from emm_pipeline.mqtt.sender import Options, Sender
from emm_pipeline.mqtt.state import Problems, PublisherState
from emm_pipeline.stores.outbox.file import DamagedFileError

if TYPE_CHECKING:
    from collections.abc import Callable

    from emm_pipeline.mqtt.broker import Broker
    from emm_pipeline.mqtt.meters import PublishedFleet
    from emm_pipeline.stores.outbox.copies import BatchCopies

RELOAD_S = 60.0
"""Time (s) after which the configuration is read again."""
STATE_S = 10.0
TICK_S = 0.5
"""Time (s) after which new copies are looked for."""

_log = logging.getLogger(__name__)


class Publisher:
    """Publishes until `stop` returns true.

    Args:
        copies: where the polls leave their batches; the folder must exist.
        load: returns the meters; raises ConfigDatabaseError.
        broker: returns address and login, which may have changed since the last connection.
        valid_for: returns the time for which a value counts as current.
        options: what is published.
    """

    def __init__(
        self,
        copies: BatchCopies,
        load: Callable[[], PublishedFleet],
        broker: Callable[[], Broker],
        valid_for: Callable[[], timedelta],
        options: Options,
    ) -> None:
        now = datetime.now(UTC)
        self._copies = copies
        self._load = load
        self._valid_for = valid_for
        self._options = options
        self._fleet: PublishedFleet | None = None
        self._reload_at = self._state_at = 0.0
        self._problems = Problems()
        self.state = PublisherState(str(broker()), now, now)
        """How publishing goes; also in the file that other processes read."""
        self.sender = Sender(broker, options, self.state, self._problems)

    def run(self, stop: Callable[[], bool]) -> None:
        """Publish until `stop` returns true; then report this installation as offline."""
        try:
            while not stop():
                self.step()
        finally:
            self.sender.close()
            self.state.stopped = True
            self._write_state()

    def step(self) -> None:
        """Do what is due; wait up to TICK_S if that is nothing."""
        if time.monotonic() >= self._reload_at:
            self._reload()
        if self._fleet is None:
            time.sleep(TICK_S)
        else:
            self._take_copies()
            was_connected = self.state.connected_since
            self.sender.exchange(TICK_S)
            if self.state.connected_since != was_connected:
                self._state_at = 0.0
        if time.monotonic() >= self._state_at:
            self._expire()
            self._write_state()

    def _reload(self) -> None:
        self._reload_at = time.monotonic() + RELOAD_S
        try:
            fleet = self._load()
        except ConfigDatabaseError as err:
            # Nothing is known of the meters, which is not the same as no meters: all stay as they are.
            self._problems.note("configuration", f"the configuration cannot be read: {err}")
            return
        self._problems.note("configuration", None)
        if self._fleet is None or fleet.meters != self._fleet.meters:
            self.sender.pending.set_meters(fleet.meters, _now_ms())
            if not self._options.values_only:
                self.sender.retained.set_meters(fleet.meters)
            self.state.meters = len(fleet.meters)
        self._fleet = fleet

    def _take_copies(self) -> None:
        try:
            for name in self._copies.names():
                try:
                    self.sender.pending.add(self._copies.take(name), _now_ms())
                except (DamagedFileError, FileNotFoundError) as err:  # a poll removes what is too old
                    _log.warning("%s was not published: %s", name, err)
        except OSError as err:
            self._problems.note("folder", f"{self._copies.folder} cannot be read: {err.strerror or err}")
            with suppress(OSError):  # a person may have deleted it
                self._copies.folder.mkdir(parents=True, exist_ok=True)
            return
        self._problems.note("folder", None)

    def _expire(self) -> None:
        oldest = _now_ms() - int(self._valid_for().total_seconds() * 1000)
        self.sender.pending.expire(oldest)
        if self._fleet and not self._options.values_only:
            self.sender.pending.report_unpolled(oldest, self._fleet.polled)

    def _write_state(self) -> None:
        self._state_at = time.monotonic() + STATE_S
        self.state.updated_at = datetime.now(UTC)
        self.state.problem, self.state.problem_since = self._problems.first
        self.state.dropped = self.sender.pending.dropped
        self.state.write(self._copies.folder)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
