"""The state of the publisher: its problems, the file that other processes read, and what it means for an operator."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from emm_pipeline.status import State, Status

if TYPE_CHECKING:
    from pathlib import Path

_log = logging.getLogger(__name__)

FILE = "state.json"
SILENT_AFTER = timedelta(seconds=60)
"""The publisher writes its state every ten seconds; it is busy with connecting for less than this time."""

_START = "start it: COMPOSE_PROFILES=mqtt in config/.env and docker compose up -d, or emm mqtt"
_WAIT = "bring the broker back; it then connects by itself, and polls are not affected"


@dataclass(slots=True)
class PublisherState:
    """Times are UTC. Counts are those since the start of the process.

    `problem` is the reason why nothing is published now, or why the meters are not up to date, since `problem_since`.
    `dropped` is the number of meter readings that were replaced by newer ones or became too old before they were sent.
    """

    broker: str
    started_at: datetime
    updated_at: datetime
    connected_since: datetime | None = None
    problem: str | None = None
    problem_since: datetime | None = None
    meters: int = 0
    messages: int = 0
    last_message_at: datetime | None = None
    dropped: int = 0
    stopped: bool = False

    def write(self, folder: Path) -> None:
        """Replace the file in this folder. Errors are ignored: publishing continues."""
        text = json.dumps(asdict(self), default=lambda time: time.isoformat())
        try:
            new = folder / f".{FILE}.new"
            new.write_text(text, encoding="utf-8")
            new.replace(folder / FILE)
        except OSError:
            return


def read_state(folder: Path) -> PublisherState | None:
    """Return the state that a publisher wrote last; None if there is none, or if it cannot be read."""
    try:
        fields: dict[str, Any] = json.loads((folder / FILE).read_text(encoding="utf-8"))
        times = ("started_at", "updated_at", "connected_since", "problem_since", "last_message_at")
        return PublisherState(**fields | {name: _time(fields.get(name)) for name in times})
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


class Problems:
    """Present problems of the publisher, by part. Each change is logged once."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[str, datetime]] = {}

    def note(self, part: str, problem: str | None) -> None:
        """Record what is wrong with a part; None if nothing is."""
        before = self._found.get(part)
        if problem is None:
            if self._found.pop(part, None):
                _log.info("%s: OK again", part)
        elif before is None or before[0] != problem:
            _log.warning("%s", problem)
            self._found[part] = (problem, before[1] if before else datetime.now(UTC))

    @property
    def first(self) -> tuple[str | None, datetime | None]:
        """The problem that was noted first, and since when; None if there is none."""
        return next(iter(self._found.values()), (None, None))


def publishing(state: PublisherState | None, url: str, now: datetime) -> Status | None:
    """Return how publishing goes; None if MQTT_URL is empty.

    A broker that is unavailable makes it `degraded`, not `failing`: no reading is lost.

    Args:
        state: the last state of the publisher, if there is one.
        url: MQTT_URL; empty if nothing is to be published.
        now: the present time (UTC).
    """
    if not url:
        return None
    if state is None:
        return Status(State.STALE, "`emm mqtt` has not been started here", what_to_do=_START)
    if state.stopped or now - state.updated_at > SILENT_AFTER:
        return Status(State.STALE, "`emm mqtt` does not run", state.updated_at, _START)
    if state.connected_since is None:
        reason = state.problem or f"connecting to {state.broker}"
        is_broker = state.problem is None or state.problem.startswith("MQTT broker")
        return Status(State.DEGRADED, reason, state.problem_since, _WAIT if is_broker else None)
    if state.problem:
        return Status(State.DEGRADED, state.problem, state.problem_since)
    last = f", the last {_ago(now - state.last_message_at)} ago" if state.last_message_at else ""
    count = f"{state.messages} messages{last}" if state.messages else "no message yet"
    meters = f"{state.meters} meter" if state.meters == 1 else f"{state.meters} meters"
    return Status(State.OK, f"{meters} published to {state.broker}: {count}", state.connected_since)


def _ago(age: timedelta) -> str:
    seconds = max(0, int(age.total_seconds()))
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"  # noqa: PLR2004 - two minutes
