"""Hours, days and months of a time zone (pure)."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from zoneinfo import ZoneInfo

_EPOCH = datetime.fromtimestamp(0, UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Period(StrEnum):
    """The length of intervals; the value is the tag `period`."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


def milliseconds(moment: datetime) -> int:
    """Return an aware time as milliseconds since 1970."""
    return (moment - _EPOCH) // _MILLISECOND


def moment_of(time_ms: int, zone: ZoneInfo) -> datetime:
    """Return the local time of milliseconds since 1970."""
    return (_EPOCH + timedelta(milliseconds=time_ms)).astimezone(zone)


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """Return the beginning of a day, which is not 00:00 where the clocks change at midnight."""
    begin = datetime.combine(day, time(), zone)
    return begin.astimezone(UTC).astimezone(zone)


def days_between(begin: date, end: date) -> Iterator[date]:
    """Yield the days from `begin` until before `end`."""
    for number in range((end - begin).days):
        yield begin + timedelta(days=number)


def month_of(day: date) -> date:
    """Return the first day of the month."""
    return day.replace(day=1)


def next_month(day: date) -> date:
    """Return the first day of the next month."""
    return month_of(month_of(day) + timedelta(days=32))


def edges_between(period: Period, begin: date, end: date, zone: ZoneInfo) -> list[int]:
    """Return the edges of all intervals from the beginning of a day until the beginning of another, in milliseconds.

    Hours are 60 minutes each, so the day on which the clocks are set forward has 23, and that on which they are set
    back has 25.
    """
    if period is Period.HOUR:
        first, last = (milliseconds(midnight(day, zone)) for day in (begin, end))
        return [*range(first, last, 3_600_000), last]
    days = [*days_between(begin, end), end]
    if period is Period.MONTH:
        days = [day for day in days if day.day == 1]
    return [milliseconds(midnight(day, zone)) for day in days]
