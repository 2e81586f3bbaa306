"""Cron triggers with seconds: the HOUR, MINUTE and SECOND settings, parsed (pure)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

_PART = re.compile(r"(?:(?P<all>\*)|(?P<first>\d{1,2})(?:-(?P<last>\d{1,2}))?)(?:/(?P<step>\d{1,2}))?", re.ASCII)
_ONE_NUMBER_RANGE = re.compile(r"\b0*(\d+)-0*\1(?!\d)(?:/\d+)?", re.ASCII)
_MINUTE = timedelta(minutes=1)

RUN_LATENESS = timedelta(minutes=1)
"""How late the results of a tick may come before the tick counts as missed: runs are late on a busy machine."""

HIGHEST = {"hour": 23, "minute": 59, "second": 59}
"""Highest number allowed in each field of a trigger; the lowest is 0."""


def parse_field(text: str, highest: int) -> tuple[int, ...]:
    """Return the sorted numbers of a cron field such as `*/10` or `5,20-30/5`.

    Raises:
        ValueError: the text is not a cron field of numbers from 0 to `highest`; the message says what is allowed.
    """
    numbers: set[int] = set()
    for part in "".join(text.split()).split(","):
        numbers |= _parse_part(part, highest)
    return tuple(sorted(numbers))


def _parse_part(part: str, highest: int) -> set[int]:
    allowed = f"allowed are *, */n, a, a-b, a-b/n and comma lists of these, with numbers from 0 to {highest}"
    match = _PART.fullmatch(part)
    if not match or (match["step"] and not match["all"] and not match["last"]):
        raise ValueError(f"{part!r} is not a cron field: {allowed}")
    first = 0 if match["all"] else int(match["first"])
    last = highest if match["all"] else int(match["last"] or first)
    step = int(match["step"] or 1)
    if max(first, last) > highest:
        raise ValueError(f"{max(first, last)} is over {highest}: {allowed}")
    if first > last:
        raise ValueError(f"{part!r} runs backwards; write {first}-{highest},0-{last}: {allowed}")
    if not 1 <= step <= highest:
        raise ValueError(f"the step in {part!r} is not from 1 to {highest}: {allowed}")
    return set(range(first, last + 1, step))


@dataclass(frozen=True, slots=True)
class Trigger:
    """The times of a periodic event: each of `seconds` after each tick of the cron fields `hour` and `minute`.

    A tick is a whole minute of the wall clock in `time_zone`, because Dagster's scheduler supports only these.
    """

    hour: str = "*"
    minute: str = "*"
    second: str = "0"
    time_zone: str = "UTC"

    @property
    def cron(self) -> str:
        """The ticks as a five-field cron string for Dagster."""
        return f"{_cron_field(self.minute)} {_cron_field(self.hour)} * * *"

    @property
    def seconds(self) -> tuple[int, ...]:
        """Seconds after a tick, sorted, each from 0 to 59."""
        return parse_field(self.second, HIGHEST["second"])

    def next_tick(self, after: datetime) -> datetime:
        """Return the first tick later than `after` (aware), in UTC, as Dagster's scheduler computes it.

        When the clocks change, a trigger for every hour continues every minute. A trigger for certain hours ticks once
        for each time on the wall clock: skipped times tick together right after the gap, and repeated times tick at
        their second occurrence.
        """
        hours = set(parse_field(self.hour, HIGHEST["hour"]))
        minutes = set(parse_field(self.minute, HIGHEST["minute"]))
        zone = ZoneInfo(self.time_zone)
        tick = after.astimezone(UTC).replace(second=0, microsecond=0)
        wall = tick.astimezone(zone)
        while True:
            tick += _MINUTE
            before, wall = wall, tick.astimezone(zone)
            if len(hours) > HIGHEST["hour"]:
                due = [wall]
            else:
                due = [*_left_out(before, wall), *([] if _comes_again(wall) else [wall])]
            if any(time.minute in minutes and time.hour in hours for time in due):
                return tick

    def previous_tick(self, before: datetime) -> datetime:
        """Return the last tick at or before `before` (aware), in UTC."""
        before = before.astimezone(UTC)
        span = _MINUTE
        while True:
            span *= 2
            tick = self.next_tick(before - span)
            if tick <= before:
                break
        while (later := self.next_tick(tick)) <= before:
            tick = later
        return tick

    def longest_interval(self) -> timedelta:
        """Return the largest distance between two ticks, on days without a change of the clocks."""
        first = self.next_tick(datetime(2026, 1, 15, tzinfo=UTC))
        longest, tick = timedelta(0), first
        while tick < first + timedelta(days=1):
            after = self.next_tick(tick)
            longest, tick = max(longest, after - tick), after
        return longest

    def two_intervals_before(self, now: datetime) -> datetime:
        """Return the time after which each meter must have reported, if this trigger's runs continue.

        That is the last but one tick: its run has ended, unless it is late by more than RUN_LATENESS.
        """
        last = self.previous_tick(now - RUN_LATENESS)
        return self.previous_tick(last - _MINUTE)


def _cron_field(text: str) -> str:
    # croniter, which Dagster uses, takes "5-5" for every number
    return _ONE_NUMBER_RANGE.sub(r"\1", "".join(text.split()))


def _left_out(before: datetime, after: datetime) -> list[datetime]:
    """Return the wall-clock minutes that are skipped between two consecutive minutes when the clocks go forward."""
    before, after = before.replace(tzinfo=None), after.replace(tzinfo=None)
    return [before + n * _MINUTE for n in range(1, (after - before) // _MINUTE)]


def _comes_again(wall: datetime) -> bool:
    return wall.replace(fold=1).utcoffset() != wall.utcoffset()
