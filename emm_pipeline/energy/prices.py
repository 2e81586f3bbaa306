"""Tariffs: the price of energy at each time (pure).

The rows of a tariff with the same `valid_from` are one price list, which is valid until the next one. In a price list,
the row with the fewest hours a week applies where several do, so that a night price can be an exception to a day price.
"""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING

from emm_pipeline.energy.periods import days_between, milliseconds, moment_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from zoneinfo import ZoneInfo

_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class PriceRow:
    """One row of the table `tariffs`.

    Prices are in `currency` per kWh, and per month. If `to_time` is not after `from_time`, the time ends on the next
    day; `weekdays` are those on which it begins.
    """

    valid_from: date
    weekdays: frozenset[int]
    from_time: time
    to_time: time
    price: float
    base_price: float = 0.0
    currency: str = "EUR"
    export_price: float = 0.0

    @property
    def seconds_a_day(self) -> int:
        """The length of the time."""
        length = _seconds(self.to_time) - _seconds(self.from_time)
        return length if length > 0 else length + _DAY_S

    def applies_at(self, moment: datetime) -> bool:
        """Whether the row has the price at a local time."""
        begin, end, now = _seconds(self.from_time), _seconds(self.to_time), _seconds(moment.time())
        if end > begin:
            return begin <= now < end and moment.isoweekday() in self.weekdays
        if now >= begin:
            return moment.isoweekday() in self.weekdays
        yesterday = (moment - timedelta(days=1)).isoweekday()
        return now < end and yesterday in self.weekdays


@dataclass(frozen=True, slots=True)
class Price:
    """Prices per kWh."""

    price: float
    export_price: float


class Tariff:
    """A tariff, with all its rows.

    Args:
        rows: In any order.
        zone: The time zone of its times and dates.
    """

    def __init__(self, rows: Iterable[PriceRow], zone: ZoneInfo) -> None:
        self._zone = zone
        self._rows = sorted(rows, key=lambda row: (row.seconds_a_day * len(row.weekdays), row.from_time))
        self._lists = sorted({row.valid_from for row in self._rows}, reverse=True)

    @property
    def currency(self) -> str:
        """The currency of the newest price list."""
        return next((row.currency for row in self._rows if row.valid_from == self._lists[0]), "")

    def _valid_on(self, day: date) -> list[PriceRow]:
        valid_from = next((each for each in self._lists if each <= day), None)
        return [row for row in self._rows if row.valid_from == valid_from]

    def price_at(self, time_ms: int) -> Price | None:
        """Return the price at a time; None if no row applies."""
        moment = moment_of(time_ms, self._zone)
        found = next((row for row in self._valid_on(moment.date()) if row.applies_at(moment)), None)
        return Price(found.price, found.export_price) if found else None

    def changes_between(self, begin_ms: int, end_ms: int) -> list[int]:
        """Return the times, in milliseconds, at which the price may change between two times."""
        first, last = (moment_of(each, self._zone).date() for each in (begin_ms, end_ms))
        times = {time(), *(row.from_time for row in self._rows), *(row.to_time for row in self._rows)}
        found = {
            milliseconds(datetime.combine(day, each, self._zone))
            for day in days_between(first, last + timedelta(days=1))
            for each in times
        }
        return sorted(each for each in found if begin_ms < each < end_ms)

    def base_price(self, month: date) -> float:
        """Return the base price of a month; if it changes in the month, by the number of days of each price."""
        days = monthrange(month.year, month.month)[1]
        begin = month.replace(day=1)
        total = 0.0
        for day in days_between(begin, begin + timedelta(days=days)):
            total += max((row.base_price for row in self._valid_on(day)), default=0.0)
        return total / days


def pieces(begin_ms: int, end_ms: int, tariffs: Iterable[Tariff], edges: Sequence[int]) -> list[int]:
    """Return the edges of intervals, and between them all times at which one of the tariffs may change its price."""
    changes = {each for tariff in tariffs for each in tariff.changes_between(begin_ms, end_ms)}
    return sorted(changes | set(edges))


def _seconds(of_day: time) -> int:
    return of_day.hour * 3600 + of_day.minute * 60 + of_day.second
