"""What people get a mail about: troubles, when they begin and when they end (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from zoneinfo import ZoneInfo

FAILURES = 3
"""Failures in a row that make a trouble: one or two may be noise on a line."""

_REASON_SHOWN = 300
_NAME_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Condition:
    """How something is now that may be in trouble; times are aware.

    `name` is for people. `since`, with `reason`, is when it began to fail; `well_at` when it was last well.
    """

    subject: str
    name: str
    failures: int = 0
    since: datetime | None = None
    reason: str | None = None
    well_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that fails, and that people were told of. `subject` is what it is known by: "meter 5"."""

    subject: str
    name: str
    since: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class AlertChanges:
    """What changed since people were last told. Of what was dropped nobody is told: it is no more."""

    begun: tuple[Alert, ...] = ()
    ended: tuple[Alert, ...] = ()
    dropped: tuple[Alert, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.begun or self.ended or self.dropped)


@dataclass(frozen=True, slots=True)
class AlertLine:
    """One line of a mail."""

    begun: bool
    text: str


def compare(states: Iterable[Condition], told: Iterable[Alert]) -> AlertChanges:
    """Return which troubles began and which ended, by subject.

    A trouble ends when its subject was well after it began; that it does not fail at the moment (its row was
    changed, so its failures count anew) does not end it.
    """
    now = {state.subject: state for state in states}
    known = {trouble.subject: trouble for trouble in told}
    begun = [
        Alert(state.subject, state.name, state.since, state.reason or "no reason is known")
        for state in now.values()
        if state.subject not in known and state.failures >= FAILURES and state.since
    ]
    ended = [trouble for subject, trouble in known.items() if subject in now and _is_over(trouble, now[subject])]
    dropped = [trouble for subject, trouble in known.items() if subject not in now]
    return AlertChanges(*(tuple(sorted(part, key=_order)) for part in (begun, ended, dropped)))


def _is_over(trouble: Alert, state: Condition) -> bool:
    return not state.failures and state.well_at is not None and state.well_at > trouble.since


def _order(trouble: Alert) -> tuple[datetime, int, str]:
    return trouble.since, len(trouble.subject), trouble.subject


def lines(news: AlertChanges, well_at: Mapping[str, datetime], zone: ZoneInfo) -> list[AlertLine]:
    """Return a line for each trouble that began or ended, with the times on the clocks of `zone`.

    Args:
        news: What changed.
        well_at: By subject, when it was well again.
        zone: The time zone of the triggers.
    """
    begun = [
        AlertLine(True, f"{_clock(one.since, zone)}  {_short(one.name, _NAME_SHOWN)} fails: {_short(one.reason)}")
        for one in news.begun
    ]
    ended = [
        AlertLine(
            False,
            f"{_clock(well_at[one.subject], zone)}  {_short(one.name, _NAME_SHOWN)} is well again; "
            f"it failed from {_clock(one.since, zone)}",
        )
        for one in news.ended
    ]
    return begun + ended


def headline(mail: Sequence[AlertLine]) -> str:
    """Return what stands in the subject of a mail: how many troubles began, how many ended."""
    begun = sum(line.begun for line in mail)
    parts = [f"{begun} failing"] if begun else []
    parts += [f"{len(mail) - begun} well again"] if begun < len(mail) else []
    return ", ".join(parts)


def _clock(time: datetime, zone: ZoneInfo) -> str:
    return f"{time.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"


def _short(text: str, longest: int = _REASON_SHOWN) -> str:
    """The text on one line, not too long: it has parts that a device or a row of the database says."""
    one_line = " ".join(text.split())
    return one_line if len(one_line) <= longest else one_line[: longest - 1] + "…"
