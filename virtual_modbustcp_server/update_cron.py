"""The times at which a virtual server updates its datastore, from the cron fields in the environment."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from threading import Event

FIELDS = {"hour": ("*", 23), "minute": ("*/1", 59), "second": ("50", 59)}
"""Each field's default and its highest number. The lowest number is 0."""

_CLOCK_CHECK_S = 1.0
_PART = re.compile(r"(?:(?P<all>\*)|(?P<first>\d{1,2})(?:-(?P<last>\d{1,2}))?)(?:/(?P<step>\d{1,2}))?", re.ASCII)


def variable(field: str) -> str:
    """Return the name of the environment variable of a field."""
    return f"VIRTUAL_SERVER_UPDATE_CRON_{field.upper()}_TRIGGER"


def parse_field(text: str, highest: int) -> list[int]:
    """Return the sorted numbers that a cron field such as `*/10` or `5,20-30/5` selects.

    Raises:
        ValueError: The text is not a cron field of numbers from 0 to `highest`.
    """
    numbers: set[int] = set()
    for part in "".join(text.split()).split(","):
        match = _PART.fullmatch(part)
        if not match or (match["step"] and not match["all"] and not match["last"]):
            raise ValueError(f"{part!r} is not a cron field")
        first = 0 if match["all"] else int(match["first"])
        last = highest if match["all"] else int(match["last"] or first)
        step = int(match["step"] or 1)
        if not (first <= last <= highest and 1 <= step <= highest):
            raise ValueError(f"{part!r} is out of range")
        numbers.update(range(first, last + 1, step))
    return sorted(numbers)


class UpdateCron:
    """The times of the updates, in the time zone `TZ` (default UTC)."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Read the variables of the trigger. An empty variable counts as not set.

        Raises:
            ValueError: A variable is invalid. The message names it, its value and what is allowed.
        """
        texts = {field: environment.get(variable(field)) or default for field, (default, _) in FIELDS.items()}
        zone = environment.get("TZ") or "UTC"
        self._text = " ".join(f"{field} {text}" for field, text in texts.items()) + f" ({zone})"
        numbers = {}
        for field, text in texts.items():
            highest = FIELDS[field][1]
            try:
                numbers[field] = parse_field(text, highest)
            except ValueError as err:
                raise ValueError(
                    f"{variable(field)}={text!r}: {err}; allowed are *, */n, a, a-b, a-b/n and comma lists "
                    f"of these, with numbers from 0 to {highest}"
                ) from err
        # CronTrigger accepts forms that are not allowed here and refuses some that are, so it gets plain numbers.
        lists = {field: ",".join(map(str, values)) for field, values in numbers.items()}
        self._trigger = CronTrigger(**lists, timezone=_time_zone(zone))

    def __str__(self) -> str:
        return self._text

    def next_after(self, moment: datetime, updates: int = 1) -> datetime:
        """Return the time of the update number `updates` after `moment` (an aware datetime)."""
        for _ in range(updates):
            moment = self._trigger.get_next_fire_time(None, moment + timedelta(microseconds=1))
        return moment

    def ticks(self, stopping: Event) -> Iterator[None]:
        """Yield when an update is due, until `stopping` is set. Updates that fall due during an update are skipped."""
        due = self.next_after(datetime.now(UTC))
        while not stopping.wait(min(max((due - datetime.now(UTC)).total_seconds(), 0), _CLOCK_CHECK_S)):
            now = datetime.now(UTC)
            if now >= due:
                yield
                due = self.next_after(datetime.now(UTC))
            else:  # the clock may have been set back
                due = min(due, self.next_after(now))


def _time_zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as err:
        raise ValueError(f"TZ={name!r}: no such time zone; use a name such as Europe/Warsaw") from err
