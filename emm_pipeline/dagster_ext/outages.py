"""Handle outages of PostgreSQL during a run: the run's events wait in memory, and its results wait for the database.

Every step event and log line of a run is a row in Dagster's event log. Without this module, a run would end if
PostgreSQL were unavailable for a moment, and all its remaining sample times would be lost.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from dagster import AssetKey, DagsterEventType, EventLogEntry
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from emm_pipeline.dagster_ext.internals import SharedEngine

T = TypeVar("T")

RETRY_PAUSE_S = 1.0
"""Seconds between two attempts to reach the database."""

JOB_EVENT_PATIENCE_S = 600.0
"""Time in seconds that a run's last events, which end it, wait for the database."""

_OUTAGE_STATES = ("08", "28", "53", "57P")
"""Classes of SQLSTATE: connection, login (while a password is replaced), lack of resources, shutdown and start."""

_PLANNED = {DagsterEventType.ASSET_MATERIALIZATION_PLANNED, DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED}
"""Events of steps that the daemon and the webserver write when they create a run."""

_log = logging.getLogger(__name__)


def _tell_step_waits(reason: str) -> None:
    _log.warning("PostgreSQL is unavailable; the next step of this run waits for it: %s", reason)


def is_outage(err: BaseException | None) -> bool:
    """Whether an error means that PostgreSQL could not be reached or ended the connection."""
    if err is None:
        return False
    if isinstance(err, PoolTimeoutError):
        return True
    if not isinstance(err, DBAPIError):
        return is_outage(err.__cause__)
    # psycopg2 calls it an OperationalError, too, when PostgreSQL rejects a statement for its content.
    if state := getattr(err.orig, "pgcode", None):
        return str(state).startswith(_OUTAGE_STATES)
    return err.connection_invalidated or isinstance(err, OperationalError | InterfaceError)


def when_database_answers(work: Callable[[], T], patience_s: float, on_wait: Callable[[str], None]) -> T:
    """Call `work`, and repeat it after an outage of PostgreSQL until it succeeds or `patience_s` has passed.

    Args:
        work: A function that needs the database and may be called several times.
        patience_s: Time in seconds to wait for the database.
        on_wait: Called once with the reason why the work has to wait.

    Raises:
        Exception: The last error of `work`, if the database stayed unavailable or the error is not an outage.
    """
    ends_at = time.monotonic() + patience_s
    waited = False
    while True:
        try:
            return work()
        except Exception as err:
            if not is_outage(err) or time.monotonic() >= ends_at:
                raise
            if not waited:
                on_wait(" ".join(str(err).split()))
                waited = True
            time.sleep(RETRY_PAUSE_S)


class WaitingEvents(SharedEngine):
    """Mixin for an event log: events of a step wait in memory, in their order, while PostgreSQL is unavailable.

    Events of a run itself (its start, success or failure) are written in order after the waiting ones. In a process
    that executes a run, they block until the database is available. In the daemon and the webserver nothing changes:
    the only step events that they write are planned events, which do not wait.
    """

    _waiting: deque[EventLogEntry]
    _attempt_at = float("-inf")
    _executes_steps = False

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)
        self._waiting = deque()
        self._lock = threading.RLock()

    def store_event(self, event: EventLogEntry) -> None:
        """Store an event now, or keep it until the database is available."""
        with self._lock:
            is_of_step = event.step_key is not None
            if not self._executes_steps and (not is_of_step or event.dagster_event_type in _PLANNED):
                super().store_event(event)  # type: ignore[misc]  # of the event log
                return
            self._waiting.append(event)
            if is_of_step:
                self._executes_steps = True
                self._store_waiting()
            else:
                self._store_all(JOB_EVENT_PATIENCE_S)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store a batch of events after those that wait.

        Raises:
            Exception: The error of the event log; in an outage no event of the batch is kept.
        """
        with self._lock:
            self._store_waiting(raises=True)
            super().store_event_batch(events)  # type: ignore[misc]  # of the event log

    def store_similar_events(self, example: EventLogEntry, events: Sequence[tuple[str | None, str]]) -> None:
        """Store events after those that wait, like `store_event_batch`."""
        with self._lock:
            self._store_waiting(raises=True)
            super().store_similar_events(example, events)  # type: ignore[misc]  # of the event log

    def get_asset_records(self, asset_keys: Sequence[AssetKey] | None = None) -> Sequence[Any]:
        """Return the records of assets. Dagster reads those of a step's inputs, so a step waits for the database."""
        read = partial(super().get_asset_records, asset_keys)  # type: ignore[misc]  # of the event log
        records: Sequence[Any] = (
            when_database_answers(read, JOB_EVENT_PATIENCE_S, _tell_step_waits) if self._executes_steps else read()
        )
        return records

    def _store_first(self) -> None:
        """Store the event that has waited longest; it stays in the queue."""
        # Fails at once if the database is unavailable; Dagster's own attempts take six seconds.
        with self._engine.connect() as connection:
            is_stored = super().store_event_of_step(connection, self._waiting[0])  # type: ignore[misc]  # of the event log
        if not is_stored:
            super().store_event(self._waiting[0])  # type: ignore[misc]  # of the event log

    def _store_all(self, patience_s: float) -> None:
        ends_at = time.monotonic() + patience_s
        while not self._store_waiting(raises=time.monotonic() >= ends_at):
            time.sleep(RETRY_PAUSE_S)

    def _store_waiting(self, *, raises: bool = False) -> bool:
        """Store the waiting events, oldest first; return whether all were stored.

        Raises:
            Exception: an error that is not an outage; or an outage, if `raises` is true.
        """
        if not raises and time.monotonic() < self._attempt_at:
            return False
        while self._waiting:
            try:
                self._store_first()
            except Exception as err:
                reason = " ".join(str(err).split())
                if is_outage(err):
                    if raises:
                        raise
                    if self._attempt_at == float("-inf"):
                        _log.warning("PostgreSQL is unavailable; this run's events wait in memory: %s", reason)
                    self._attempt_at = time.monotonic() + RETRY_PAUSE_S
                    return False
                self._waiting.popleft()
                if not self._waiting:
                    raise
                # The event is an earlier one: its error must not prevent the caller's event from being stored.
                _log.warning("an event of this run was not accepted: %s", reason)
            else:
                self._waiting.popleft()
        self._attempt_at = float("-inf")
        return True
