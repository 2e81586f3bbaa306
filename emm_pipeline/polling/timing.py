"""When a run samples: the due seconds of its tick, and until when each sample may take (pure).

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
"""How long before the next tick's first sample a run ends: a run takes about that long to start."""

LONGEST_SAMPLE = timedelta(hours=1)
"""A sample never takes longer, however rare the ticks: a broken device must not stretch a poll to hours."""

SHORTEST_SAMPLE = timedelta(seconds=1)
"""A sample that is late is not begun with less time than this."""

UNSCHEDULED_SAMPLE = timedelta(minutes=10)
"""How long the sample of a run that someone started by hand may take."""


@dataclass(frozen=True, slots=True)
class SampleTime:
    """One reading of all meters: when it is due (UTC), and when it ends, read or not."""

    due: datetime
    deadline: datetime


@dataclass(frozen=True, slots=True)
class Window:
    """The time that belongs to one tick's run (UTC): it samples from `tick` on and ends by `until`."""

    tick: datetime
    until: datetime

    def is_overdue(self, now: datetime) -> bool:
        """Whether a run of this window that is still going holds up the next tick."""
        return now >= self.until + START_MARGIN


def window_of(tick: datetime, trigger: Trigger) -> Window:
    """Return the window of a tick: up to shortly before the first sample of the next one."""
    tick = tick.astimezone(UTC)
    first, last = trigger.seconds[0], trigger.seconds[-1]
    until = trigger.next_tick(tick) + timedelta(seconds=first) - START_MARGIN
    # With samples up to the end of the minute (SECOND `*`), the last one still gets its second.
    until = max(until, tick + timedelta(seconds=last + 1))
    return Window(tick, min(until, tick + timedelta(seconds=last) + LONGEST_SAMPLE))


def due_sample_times(
    window: Window, seconds: Sequence[int], now: datetime, conclude: timedelta
) -> tuple[list[SampleTime], list[datetime]]:
    """Return the samples that a run takes which comes up at `now`, and the due times that it is too late for.

    Of the seconds already past the first is sampled at once, the others are skipped; the first too, if the next is due
    within SHORTEST_SAMPLE: its meters would fail for want of time. A sample ends when the next is
    due, the last one `conclude` before the window's end. Where the whole window is past (the run was queued for long),
    its one sample gets as much time as a run started by hand.
    """
    due = [window.tick + timedelta(seconds=second) for second in seconds]
    past = [time for time in due if time < now]
    ahead = [time for time in due if time >= now]
    caught_up = past[:1] if not ahead or ahead[0] - now >= SHORTEST_SAMPLE else []
    taken = caught_up + ahead
    ends = [*taken[1:], max(last_deadline(window, conclude), taken[-1] + timedelta(seconds=1))]
    samples = [SampleTime(time, ended) for time, ended in zip(taken, ends, strict=True)]
    if samples[0].deadline <= now:
        samples[0] = SampleTime(samples[0].due, now + UNSCHEDULED_SAMPLE)
    return samples, past[len(caught_up) :]


def last_deadline(window: Window, conclude: timedelta) -> datetime:
    """Return when the last sample of a window ends, so that `conclude` is left; a quarter of the window at most."""
    return window.until - min(conclude, (window.until - window.tick) / 4)
