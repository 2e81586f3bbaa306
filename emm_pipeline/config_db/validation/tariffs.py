"""Check price lists of tariffs: what a person or a program enters becomes exact values, or issues by field (pure)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date, time
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from emm_pipeline.config_db.values import shown
from emm_pipeline.suggesting import suggestion

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

WEEKDAYS = re.compile(r"[1-7](-[1-7])?(,[1-7](-[1-7])?)*")
"""Days of the week from 1, Monday, to 7, Sunday: `1-5`, or `6,7`."""

LONGEST_NAME, LONGEST_CURRENCY = 200, 10
HIGHEST_PRICE = 1_000_000
"""In either direction: a price may be negative."""
_NUMBER = re.compile(r"[+-]?\d{1,12}([.,]\d{1,12})?", re.ASCII)
_FIRST_YEAR, _LAST_YEAR = 1970, 2999


@dataclass(frozen=True, slots=True)
class Price:
    """Prices per kWh in a time of the day. If `to_time` is not after `from_time`, the time ends on the next day."""

    price: Decimal
    export_price: Decimal = Decimal(0)
    weekdays: str = "1-7"
    from_time: time = time()
    to_time: time = time()

    @property
    def when(self) -> tuple[frozenset[int], time, time]:
        """The days and the time, which only one price of a list may have."""
        return parse_weekdays(self.weekdays), self.from_time, self.to_time


@dataclass(frozen=True, slots=True)
class PriceList:
    """The prices of a tariff from one day on, until its next price list. The base price is per month."""

    name: str
    valid_from: date
    prices: tuple[Price, ...]
    base_price: Decimal = Decimal(0)
    currency: str = "EUR"

    def as_record(self) -> dict[str, Any]:
        """Return it as types that JSON has."""
        return {
            "name": self.name,
            "valid_from": self.valid_from.isoformat(),
            "currency": self.currency,
            "base_price_per_month": float(self.base_price),
            "prices": [
                {
                    "weekdays": each.weekdays,
                    "from_time": f"{each.from_time:%H:%M}",
                    "to_time": f"{each.to_time:%H:%M}",
                    "price_per_kwh": float(each.price),
                    "export_price": float(each.export_price),
                }
                for each in self.prices
            ],
        }


@dataclass(slots=True)
class CheckedList:
    """The result of a check: the price list, or issues. Keys of `issues` are fields, `prices.2.from_time` in a row."""

    prices: PriceList | None = None
    issues: dict[str, str] = field(default_factory=dict)

    def read(self, name: str, convert: Any, value: Any) -> Any:
        """Return the converted value; if it is not valid, note why, and return None."""
        try:
            return convert(value)
        except ValueError as err:
            self.issues[name] = str(err)
            return None


def check_price_list(fields: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> CheckedList:
    """Check a price list.

    Args:
        fields: `name` and `valid_from`; `currency` and `base_price_per_month` if they are not EUR and 0.
        rows: A mapping per price, with `price_per_kwh`; and `weekdays`, `from_time`, `to_time` and `export_price` if
            they are not 1-7, 00:00, 00:00 and 0. Texts and numbers are accepted.
    """
    checked = CheckedList()
    name = checked.read("name", _name, fields.get("name"))
    valid_from = checked.read("valid_from", _day, fields.get("valid_from"))
    currency = checked.read("currency", _currency, _or(fields.get("currency"), "EUR"))
    base = checked.read("base_price_per_month", _number, _or(fields.get("base_price_per_month"), 0))
    prices: list[Price] = []
    lines: dict[Any, int] = {}
    for place, row in enumerate(rows):
        if (price := _price(checked, f"prices.{place}", row)) is None:
            continue
        prices.append(price)
        if (first := lines.setdefault(price.when, place)) != place:
            reason = f"has the days and the time of row {first + 1}"
            checked.issues[f"prices.{place}.from_time"] = reason
    if not rows:
        checked.issues["prices"] = "a price list has at least one price"
    if not checked.issues:
        checked.prices = PriceList(name, valid_from, tuple(prices), base, currency)
    return checked


def _price(checked: CheckedList, place: str, row: Mapping[str, Any]) -> Price | None:
    before = len(checked.issues)
    price = checked.read(f"{place}.price_per_kwh", _number, row.get("price_per_kwh"))
    export = checked.read(f"{place}.export_price", _number, _or(row.get("export_price"), 0))
    days = checked.read(f"{place}.weekdays", _weekdays, _or(row.get("weekdays"), "1-7"))
    begin, end = (
        checked.read(f"{place}.{name}", _time, _or(row.get(name), "00:00")) for name in ("from_time", "to_time")
    )
    return Price(price, export, days, begin, end) if len(checked.issues) == before else None


def parse_weekdays(text: str) -> frozenset[int]:
    """Return the days that a text such as `1-5,7` names.

    Raises:
        ValueError: It is not of this form.
    """
    if not WEEKDAYS.fullmatch(text):
        raise ValueError(f"{text!r} is not of the form 1-5 or 6,7, where 1 is Monday")
    found: set[int] = set()
    for part in text.split(","):
        begin, _, end = part.partition("-")
        first, last = int(begin), int(end or begin)
        found |= {*range(first, last + 1)} if first <= last else {*range(first, 8), *range(1, last + 1)}
    return frozenset(found)


def _or(value: Any, default: Any) -> Any:
    return default if value is None or (isinstance(value, str) and not value.strip()) else value


def _name(value: Any) -> str:
    text = value.strip() if isinstance(value, str) else ""
    if not text:
        raise ValueError("is required")
    if len(text) > LONGEST_NAME or not text.isprintable():
        raise ValueError(f"is {shown(value)}; allowed: at most {LONGEST_NAME} characters, without line breaks")
    return text


def _currency(value: Any) -> str:
    text = value.strip() if isinstance(value, str) else ""
    if not 0 < len(text) <= LONGEST_CURRENCY or not text.isprintable():
        raise ValueError(f"is {shown(value)}; allowed: a currency such as EUR")
    return text


def _day(value: Any) -> date:
    try:
        day = value if isinstance(value, date) else date.fromisoformat(str(value or "").strip())
    except ValueError:
        day = date.min
    if not _FIRST_YEAR <= day.year <= _LAST_YEAR:
        raise ValueError(f"is {shown(value)}; allowed: a day such as 2026-03-01")
    return day


def _time(value: Any) -> time:
    try:
        of_day = value if isinstance(value, time) else time.fromisoformat(str(value).strip())
    except ValueError:
        of_day = None
    if of_day is None or of_day.second or of_day.microsecond or of_day.tzinfo:
        raise ValueError(f"is {shown(value)}; allowed: a time such as 22:00")
    return of_day


def _weekdays(value: Any) -> str:
    text = str(value).replace(" ", "")
    if not WEEKDAYS.fullmatch(text):
        raise ValueError(f"is {shown(value)}; allowed: days such as 1-5 or 6,7, where 1 is Monday")
    return text


def _number(value: Any) -> Decimal:
    """Return a number; a decimal comma is accepted."""
    number = None
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        number = Decimal(str(value))
    elif isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        try:
            number = Decimal(value.strip().replace(",", "."))
        except InvalidOperation:
            number = None
    if number is None or not number.is_finite() or abs(number) > HIGHEST_PRICE:
        raise ValueError(f"is {shown(value)}; allowed: a number from -{HIGHEST_PRICE} to {HIGHEST_PRICE}")
    return number


def unknown_tariff(name: str, names: Collection[str]) -> str:
    """Return the message about a tariff that does not exist."""
    return f"there is no tariff {name!r}; emm tariffs list shows them{suggestion(name, names)}"
