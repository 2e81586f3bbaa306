"""Cron triggers with seconds: the HOUR, MINUTE and SECOND settings, parsed (pure)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

_PART = re.compile(r"(?:(?P<all>\*)|(?P<first>\d{1,2})(?:-(?P<last>\d{1,2}))?)(?:/(?P<step>\d{1,2}))?", re.ASCII)

HIGHEST = {"hour": 23, "minute": 59, "second": 59}
"""The highest number that each field of a trigger takes; the lowest is 0."""


def parse_field(text: str, highest: int) -> tuple[int, ...]:
    """Return the sorted numbers that a cron field such as `*/10` or `5,20-30/5` stands for.

    Raises:
        ValueError: the text is not a cron field of numbers from 0 to `highest`; says what is allowed.
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
    """When something happens: at each of `seconds` after each tick of the cron `hour` and `minute`.

    A tick is a whole minute of the wall clock in `time_zone`; Dagster's scheduler knows only these.
    """

    hour: str = "*"
    minute: str = "*"
    second: str = "0"
    time_zone: str = "UTC"

    @property
    def cron(self) -> str:
        """The ticks as a five-field cron string."""
        return f"{''.join(self.minute.split())} {''.join(self.hour.split())} * * *"

    @property
    def seconds(self) -> tuple[int, ...]:
        """Seconds after a tick, sorted, each from 0 to 59."""
        return parse_field(self.second, HIGHEST["second"])

    def next_tick(self, after: datetime) -> datetime:
        """Return the first tick later than `after` (aware), in UTC.

        Across a change of the clocks it follows the wall clock: a tick in the hour that is left out does not
        happen, one in the hour that comes twice happens twice.
        """
        hours = set(parse_field(self.hour, HIGHEST["hour"]))
        minutes = set(parse_field(self.minute, HIGHEST["minute"]))
        zone = ZoneInfo(self.time_zone)
        tick = after.astimezone(UTC).replace(second=0, microsecond=0)
        while True:
            tick += timedelta(minutes=1)
            local = tick.astimezone(zone)
            if local.minute in minutes and local.hour in hours:
                return tick
