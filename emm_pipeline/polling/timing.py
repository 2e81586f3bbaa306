"""The sample times of a run: the due seconds after its tick, and the time limit of each fleet reading (pure).

Dagster's cron has no seconds, so a run waits for the seconds after its tick itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from emm_pipeline.cron import Trigger

START_MARGIN = timedelta(seconds=3)
"""A run ends this long before the next tick's first sample time, because starting a run takes about as long."""

LONGEST_READING = timedelta(hours=1)
"""Maximum duration of a fleet reading; without it, a broken device could extend a poll to hours if ticks are rare."""

SHORTEST_READING = timedelta(seconds=1)
"""Minimum time that a late fleet reading must have left when it begins."""

UNSCHEDULED_READING = timedelta(minutes=10)
"""Maximum duration of the fleet reading of a run that a person started."""


@dataclass(frozen=True, slots=True)
class SampleTime:
    """Due time (UTC) of a fleet reading, and its deadline, when it ends even if some meters were not read.

    `next_due` is the due time of the run's next one, if there is one.
    """

    due: datetime
    deadline: datetime
    next_due: datetime | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """The period of one tick's run (UTC): it starts reading at `tick` and ends by `until`."""

    tick: datetime
    until: datetime

    def is_overdue(self, now: datetime) -> bool:
        """Whether a run of this window should have ended before the next tick."""
        return now >= self.until + START_MARGIN


def window_of(tick: datetime, trigger: Trigger) -> Window:
    """Return the window of a tick, which ends shortly before the first sample time of the next tick."""
    tick = tick.astimezone(UTC)
    first, last = trigger.seconds[0], trigger.seconds[-1]
    until = trigger.next_tick(tick) + timedelta(seconds=first) - START_MARGIN
    # With sample times up to the end of the minute (SECOND `*`), the last one still gets its second.
    until = max(until, tick + timedelta(seconds=last + 1))
    return Window(tick, min(until, tick + timedelta(seconds=last) + LONGEST_READING))


def due_sample_times(
    window: Window, seconds: Sequence[int], now: datetime, report: timedelta
) -> tuple[list[SampleTime], list[datetime]]:
    """Return the sample times of a run that starts at `now`, and the due times that it skips.

    Of the due times that have already passed, the run reads for the first one at once and skips the others. It also
    skips the first one if the next is due within SHORTEST_READING, because its meters would fail for lack of time. A
    reading ends when the next is due, and the last one ends `report` before the window's end. If the whole window has
    passed (the run was queued for a long time), its only reading gets as much time as in a run that a person started.
    """
    due = [window.tick + timedelta(seconds=second) for second in seconds]
    past = [time for time in due if time < now]
    ahead = [time for time in due if time >= now]
    caught_up = past[:1] if not ahead or ahead[0] - now >= SHORTEST_READING else []
    taken = caught_up + ahead
    ends = [*taken[1:], max(last_deadline(window, report), taken[-1] + timedelta(seconds=1))]
    times = [SampleTime(*each) for each in zip(taken, ends, [*taken[1:], None], strict=True)]
    if times[0].deadline <= now:
        times[0] = SampleTime(times[0].due, now + UNSCHEDULED_READING)
    return times, past[len(caught_up) :]


def last_deadline(window: Window, report: timedelta) -> datetime:
    """Return the deadline of a window's last reading: `report`, or at most a quarter of the window, before its end."""
    return window.until - min(report, (window.until - window.tick) / 4)
