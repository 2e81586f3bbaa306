"""The sample times of a run: the due seconds of its tick, and how long each fleet reading may take (pure).

Dagster's cron ends at minutes, so a run takes the seconds of its tick itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from emm_pipeline.cron import Trigger

START_MARGIN = timedelta(seconds=3)
"""How long before the next tick's first sample time a run ends: a run takes about that long to start."""

LONGEST_READING = timedelta(hours=1)
"""A fleet reading never takes longer, however rare the ticks: a broken device must not stretch a poll to hours."""

SHORTEST_READING = timedelta(seconds=1)
"""A fleet reading that is late does not begin with less time than this."""

UNSCHEDULED_READING = timedelta(minutes=10)
"""How long the fleet reading of a run that a person started may take."""


@dataclass(frozen=True, slots=True)
class SampleTime:
    """When a fleet reading is due (UTC), and when it ends, whether all meters were read or not."""

    due: datetime
    deadline: datetime


@dataclass(frozen=True, slots=True)
class Window:
    """The time that belongs to one tick's run (UTC): it reads from `tick` on and ends by `until`."""

    tick: datetime
    until: datetime

    def is_overdue(self, now: datetime) -> bool:
        """Whether a run of this window should have ended before the next tick."""
        return now >= self.until + START_MARGIN


def window_of(tick: datetime, trigger: Trigger) -> Window:
    """Return the window of a tick: up to shortly before the first sample time of the next one."""
    tick = tick.astimezone(UTC)
    first, last = trigger.seconds[0], trigger.seconds[-1]
    until = trigger.next_tick(tick) + timedelta(seconds=first) - START_MARGIN
    # With sample times up to the end of the minute (SECOND `*`), the last one still gets its second.
    until = max(until, tick + timedelta(seconds=last + 1))
    return Window(tick, min(until, tick + timedelta(seconds=last) + LONGEST_READING))


def due_sample_times(
    window: Window, seconds: Sequence[int], now: datetime, report: timedelta
) -> tuple[list[SampleTime], list[datetime]]:
    """Return the sample times of a run that starts at `now`, and the due times that it is too late for.

    Of the seconds that have already passed, the first is read for at once and the others are skipped; so is the first
    if the next is due within SHORTEST_READING, because its meters would fail for lack of time. A reading ends when the
    next is due, the last one `report` before the window's end. If the whole window has passed (the run was queued for
    long), its one reading gets as much time as that of a run started by hand.
    """
    due = [window.tick + timedelta(seconds=second) for second in seconds]
    past = [time for time in due if time < now]
    ahead = [time for time in due if time >= now]
    caught_up = past[:1] if not ahead or ahead[0] - now >= SHORTEST_READING else []
    taken = caught_up + ahead
    ends = [*taken[1:], max(last_deadline(window, report), taken[-1] + timedelta(seconds=1))]
    times = [SampleTime(due_at, ended) for due_at, ended in zip(taken, ends, strict=True)]
    if times[0].deadline <= now:
        times[0] = SampleTime(times[0].due, now + UNSCHEDULED_READING)
    return times, past[len(caught_up) :]


def last_deadline(window: Window, report: timedelta) -> datetime:
    """Return when the last reading of a window ends: `report`, but at most a quarter of the window, before its end."""
    return window.until - min(report, (window.until - window.tick) / 4)
