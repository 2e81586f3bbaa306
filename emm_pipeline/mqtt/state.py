"""The state of the publisher, in a file that other processes read, and what it means for an operator."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

FILE = "state.json"
SILENT_AFTER = timedelta(seconds=60)
"""The publisher writes its state every ten seconds; it is busy with connecting for less than this time."""


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

    def write(self, folder: Path) -> None:
        """Replace the file in this folder. Errors are ignored: publishing goes on."""
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


@dataclass(frozen=True, slots=True)
class Publishing:
    """How publishing goes: `status` is `ok`, `degraded`, `failing`, or `off`; then why, since when, and what to do."""

    status: str
    reason: str
    since: datetime | None = None
    what_to_do: str = ""


def publishing(state: PublisherState | None, url: str, now: datetime) -> Publishing:
    """Return how publishing goes.

    Args:
        state: the last state of the publisher, if there is one.
        url: MQTT_URL; empty if nothing is to be published.
        now: the present time (UTC).
    """
    if not url:
        return Publishing("off", "MQTT_URL is empty")
    start = "Start `emm mqtt` (in the stack: docker compose --profile mqtt up -d)."
    if state is None:
        return Publishing("failing", "`emm mqtt` has not been started here", what_to_do=start)
    if now - state.updated_at > SILENT_AFTER:
        return Publishing("failing", "`emm mqtt` does not run", state.updated_at, start)
    if state.connected_since is None:
        reason = state.problem or f"connecting to {state.broker}"
        return Publishing("failing", reason, state.problem_since, "Polls are not affected; it connects by itself.")
    if state.problem:
        return Publishing("degraded", state.problem, state.problem_since)
    return Publishing("ok", f"{state.meters} meters are published to {state.broker}", state.connected_since)
