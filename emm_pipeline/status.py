"""The status of meters and of the parts of the pipeline: one definition for everything that shows a status (pure).

`emm status`, `emm meters list`, `check`, `poll` and `watch`, the demo, Dagster's pages, `emm_poll.status`, alerts and
the web page all call `decide`. It reads no clock and no database: its caller collects the facts.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime


class State(StrEnum):
    """The state of a meter, or of a part of the pipeline. The values do not change between versions."""

    OK = "ok"
    DEGRADED = "degraded"
    """Read, but registers are absent, misconfigured, unsupported or implausible, or the clock is wrong."""
    FAILING = "failing"
    """The last attempt to read it failed, or the store rejected its points."""
    STALE = "stale"
    """Nothing tried to read it."""
    WAITING = "waiting for store"
    """Read; its points wait in the outbox."""
    MISCONFIGURED = "misconfigured"
    ASLEEP = "asleep"
    """It may be off (`energy_meters.may_be_off`), and is silent."""
    DISABLED = "disabled"
    NEW = "new"
    """Not polled yet."""


class ExitCode(IntEnum):
    """The exit code of `emm status`."""

    OK = 0
    DEGRADED = 1
    FAILING = 2


_EXIT_CODES = {
    State.OK: ExitCode.OK,
    State.ASLEEP: ExitCode.OK,
    State.DISABLED: ExitCode.OK,
    State.NEW: ExitCode.OK,
    State.DEGRADED: ExitCode.DEGRADED,
    State.WAITING: ExitCode.DEGRADED,
}


def exit_code(states: Iterable[State | None]) -> ExitCode:
    """Return the exit code for these states; None means that a state is unknown."""
    codes = (_EXIT_CODES.get(state, ExitCode.FAILING) if state else ExitCode.FAILING for state in states)
    return max(codes, default=ExitCode.OK)


class RegisterIssueKind(StrEnum):
    """Why a configured register does not deliver a valid value."""

    MISCONFIGURED = "misconfigured"
    """Its row cannot be used."""
    UNSUPPORTED = "unsupported"
    """The device refused it."""
    ABSENT = "absent"
    """The device has no value for it, or did not send it."""
    IMPLAUSIBLE = "implausible"
    """Its value cannot be right."""


@dataclass(frozen=True, slots=True)
class RegisterIssue:
    """A configured register of a meter that does not deliver a valid value; `since` is aware, None if not known."""

    measurement: str
    kind: RegisterIssueKind
    reason: str
    since: datetime | None = None

    def __str__(self) -> str:
        return f"{self.measurement}: {self.reason}"


@dataclass(frozen=True, slots=True)
class MeterFacts:
    """The facts about one meter; times are aware.

    `id` is None if the row's id is invalid. `configuration_issue` says why the meter cannot be polled. `polled_at` is
    the time at which a poll last reported a result of it. `failing_since`, `reason` and `next_attempt_at` describe its
    failure, and `silent` is true if it then gave no reply at all. `issues` are the registers that do not deliver,
    without those whose absence a person has accepted.
    """

    id: int | None = None
    enabled: bool = True
    may_be_off: bool = False
    configuration_issue: str | None = None
    first_seen_at: datetime | None = None
    polled_at: datetime | None = None
    last_read_at: datetime | None = None
    failing_since: datetime | None = None
    reason: str | None = None
    next_attempt_at: datetime | None = None
    silent: bool = False
    issues: Sequence[RegisterIssue] = ()


@dataclass(frozen=True, slots=True)
class PollingFacts:
    """The facts about polling as a whole; times are aware.

    A meter that was polled at `polled_since` or later was polled within two intervals of the schedule. `stopped` says
    why polling has stopped, if that is known. `waiting_since` is the time of the oldest points that wait for the store,
    and `waiting_reason` says why they wait. `clock_issue` says why the times of readings are wrong.
    """

    polled_since: datetime | None = None
    stopped: str | None = None
    waiting_since: datetime | None = None
    waiting_reason: str | None = None
    clock_issue: str | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """A state, the reason in one line, since when (aware, if known), and what to do about it."""

    state: State
    reason: str | None = None
    since: datetime | None = None
    what_to_do: str | None = None


def decide(meter: MeterFacts, polling: PollingFacts) -> Status:
    """Return a meter's status. A reason why it is not read takes precedence over an issue with its values."""
    unread = _decide_unread(meter, polling)
    if unread:
        return unread
    if polling.waiting_since and meter.last_read_at and meter.last_read_at >= polling.waiting_since:
        reason = f"its points wait in the outbox ({polling.waiting_reason or 'no attempt to load them is known'})"
        return Status(State.WAITING, reason, polling.waiting_since, "bring the store back; then EMM loads them itself")
    return decide_read(meter.issues, polling.clock_issue, meter.id)


def _decide_unread(meter: MeterFacts, polling: PollingFacts) -> Status | None:
    """Return the status of a meter that is not read; None for one that is."""
    polled_at = _latest(meter.polled_at, meter.last_read_at)
    if not meter.enabled:
        return Status(State.DISABLED)
    if meter.configuration_issue:
        to_do = "correct the row in the database"
        return Status(State.MISCONFIGURED, meter.configuration_issue, meter.failing_since, to_do)
    if _is_stale(meter, polling, polled_at):
        tried = "it was never polled" if polled_at is None else "no poll has tried to read it since"
        reason = f"{tried}: {polling.stopped}" if polling.stopped else tried
        return Status(State.STALE, reason, polled_at or meter.first_seen_at, "see what stopped: emm status")
    if meter.failing_since is not None:
        state = State.ASLEEP if meter.may_be_off and meter.silent else State.FAILING
        advice = None if state is State.ASLEEP else "find out why: emm meters check"
        return Status(state, meter.reason or "no reason is known", meter.failing_since, advice)
    return Status(State.NEW, what_to_do="wait for the next poll") if polled_at is None else None


def decide_read(issues: Sequence[RegisterIssue], clock_issue: str | None = None, meter_id: int | None = None) -> Status:
    """Return the status of a meter that was read and whose points are stored.

    `meter_id` is for the command in `what_to_do`.
    """
    if clock_issue:
        return Status(State.DEGRADED, clock_issue, what_to_do="set the clock of this computer")
    if not issues:
        return Status(State.OK)
    since = min((issue.since for issue in issues if issue.since), default=None)
    return Status(State.DEGRADED, described(issues), since, _register_advice(issues, meter_id))


NAMED = 3
"""The number of registers that a reason names."""


def described(issues: Sequence[RegisterIssue]) -> str:
    """Return in one line which registers do not deliver, and why: the first ones, and the number of the others."""
    more = f"; and {len(issues) - NAMED} more registers" if len(issues) > NAMED else ""
    return "; ".join(map(str, issues[:NAMED])) + more


def _register_advice(issues: Sequence[RegisterIssue], meter_id: int | None) -> str | None:
    kinds = {issue.kind for issue in issues}
    if RegisterIssueKind.MISCONFIGURED in kinds:
        return "correct the row in the table registers"
    if RegisterIssueKind.IMPLAUSIBLE in kinds:
        return "compare with the meter's display: emm meters check"
    if meter_id is None:
        return None
    return f"if the device does not have them: emm registers accept-absent {meter_id}"


def _is_stale(meter: MeterFacts, polling: PollingFacts, polled_at: datetime | None) -> bool:
    if polling.polled_since is None:
        return False
    known_at = polled_at or meter.first_seen_at
    return known_at is not None and known_at < polling.polled_since


def _latest(*times: datetime | None) -> datetime | None:
    return max(filter(None, times), default=None)
