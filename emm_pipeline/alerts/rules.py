"""The rules that raise and resolve alerts, and the lines of the mail about them (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from emm_pipeline.status import Status

FAILURES = 3
"""Number of failures in a row that raises an alert: one or two may be caused by noise on a serial line."""

_REASON_SHOWN = 300
_NAME_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Condition:
    """The present condition of something that may fail, such as a meter; times are aware.

    `subject` identifies it, such as "meter 5"; `name` is for people. `since` is the time of the first failure, `reason`
    why it fails, and `last_ok_at` the time when it last worked.
    """

    subject: str
    name: str
    failures: int = 0
    since: datetime | None = None
    reason: str | None = None
    last_ok_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    """A failure that was reported to people."""

    subject: str
    name: str
    since: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class AlertChanges:
    """The alerts that were raised and resolved since the last report.

    A dropped alert belongs to a subject that no longer exists; it is not reported.
    """

    raised: tuple[Alert, ...] = ()
    resolved: tuple[Alert, ...] = ()
    dropped: tuple[Alert, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.raised or self.resolved or self.dropped)


@dataclass(frozen=True, slots=True)
class AlertLine:
    """One line of a mail."""

    raised: bool
    text: str


def with_advice(status: Status) -> str:
    """Return the reason of a status, and what to do."""
    return f"{status.reason}; to do: {status.what_to_do}" if status.what_to_do else status.reason or "unknown"


def compare(conditions: Iterable[Condition], told: Iterable[Alert]) -> AlertChanges:
    """Return which alerts are raised and which are resolved.

    Args:
        conditions: The present condition of every subject.
        told: The alerts that were reported and are not resolved.

    An alert is resolved when its subject has worked after the alert was raised. It is not enough that the subject has
    no failures at the moment, because a change of its row resets the count of failures.
    """
    now = {condition.subject: condition for condition in conditions}
    known = {alert.subject: alert for alert in told}
    raised = [
        Alert(condition.subject, condition.name, condition.since, condition.reason or "no reason is known")
        for condition in now.values()
        if condition.subject not in known and condition.failures >= FAILURES and condition.since
    ]
    resolved = [alert for subject, alert in known.items() if subject in now and _is_over(alert, now[subject])]
    dropped = [alert for subject, alert in known.items() if subject not in now]
    return AlertChanges(*(tuple(sorted(part, key=_order)) for part in (raised, resolved, dropped)))


def _is_over(alert: Alert, condition: Condition) -> bool:
    return not condition.failures and condition.last_ok_at is not None and condition.last_ok_at > alert.since


def _order(alert: Alert) -> tuple[datetime, int, str]:
    return alert.since, len(alert.subject), alert.subject


def lines(changes: AlertChanges, last_ok_at: Mapping[str, datetime], zone: ZoneInfo) -> list[AlertLine]:
    """Return a line for each alert that was raised or resolved, with times in `zone`.

    Args:
        changes: What changed.
        last_ok_at: The time of recovery, by subject.
        zone: The time zone of the triggers.
    """
    raised = [
        AlertLine(True, f"{_clock(one.since, zone)}  {_short(one.name, _NAME_SHOWN)} fails: {_short(one.reason)}")
        for one in changes.raised
    ]
    resolved = [
        AlertLine(
            False,
            f"{_clock(last_ok_at[one.subject], zone)}  {_short(one.name, _NAME_SHOWN)} has recovered; "
            f"it had failed since {_clock(one.since, zone)}",
        )
        for one in changes.resolved
    ]
    return raised + resolved


def headline(mail: Sequence[AlertLine]) -> str:
    """Return the subject of a mail, with the numbers of raised and resolved alerts."""
    raised = sum(line.raised for line in mail)
    parts = [f"{raised} failing"] if raised else []
    parts += [f"{len(mail) - raised} recovered"] if raised < len(mail) else []
    return ", ".join(parts)


def _clock(time: datetime, zone: ZoneInfo) -> str:
    return f"{time.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"


def _short(text: str, longest: int = _REASON_SHOWN) -> str:
    """Return the text as one line of limited length, because parts of it come from devices and from the database."""
    one_line = " ".join(text.split())
    return one_line if len(one_line) <= longest else one_line[: longest - 1] + "…"
