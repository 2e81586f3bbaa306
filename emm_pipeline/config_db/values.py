"""Convert column values of any type, if the conversion is exact: old tables and files hold numbers as text or decimals.

Pure. Each converter accepts a value as a database driver or a file provides it. It raises `InvalidValueError`, whose
message continues the column's name: "port", "is 70000; allowed: 1 to 65535". Spaces around texts and numbers are
ignored, and a whole number may be hexadecimal, such as 0x156.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal, InvalidOperation
from enum import IntEnum
from typing import TYPE_CHECKING, Any, TypeVar

from emm_pipeline.fleet import HIGHEST_ADDRESS, REGISTER_SPACE, FunctionCode, TransportKind
from emm_pipeline.naming import label_issue, measurement_issue

if TYPE_CHECKING:
    from collections.abc import Sequence

Code = TypeVar("Code", bound=IntEnum)

MAX_HOST_LENGTH = 255
"""Longest name in the Domain Name System (RFC 1035, 2.3.4)."""

HIGHEST_POWER_W = 1e12
"""Far more than any power station has."""

_NUMBER = re.compile(r"\s*[+-]?\d{1,50}(\.\d{0,50})?([eE][+-]?\d{1,4})?\s*", re.ASCII)
_HEXADECIMAL = re.compile(r"\s*0[xX][0-9a-fA-F]{1,16}\s*", re.ASCII)
_SPELLINGS = (
    (re.compile(r"\s*[+-]?\d+,\d+([eE][+-]?\d+)?\s*", re.ASCII), "; a decimal point is needed, not a comma"),
    (re.compile(r"\s*[0-9a-fA-F]+[hH]\s*", re.ASCII), "; hexadecimal numbers begin with 0x"),
)
"""Patterns of numbers that are not accepted, and the hint for each."""

TRANSPORT_NAMES = tuple(str(each) for each in TransportKind)

_SERIAL_SETTINGS = re.compile(r"([1-9]\d{2,6})[ ,/]+([78])[ -]?([NEOneo])[ -]?([12])", re.ASCII)

_FLAGS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
_MANUAL_REFERENCES = {
    300_001: FunctionCode.READ_INPUT_REGISTERS,
    400_001: FunctionCode.READ_HOLDING_REGISTERS,
}
_SHOWN_LENGTH = 60
_BEYOND_INTEGERS = 2**64


class InvalidValueError(ValueError):
    """A value that is not valid in its column."""


def shown(value: object) -> str:
    """Return a value for a message: quoted, escaped, and cut if it is too long."""
    text = "null" if value is None else str(value) if isinstance(value, Decimal) else repr(value)
    return text if len(text) <= _SHOWN_LENGTH else text[:_SHOWN_LENGTH] + "..."


def _invalid(value: object, allowed: str) -> InvalidValueError:
    hint = next((hint for spelling, hint in _SPELLINGS if isinstance(value, str) and spelling.fullmatch(value)), "")
    return InvalidValueError(f"is {shown(value)}; allowed: {allowed}{hint}")


def _number(value: object, allowed: str) -> Decimal:
    """Return a finite number, exactly."""
    number = None
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        number = Decimal(value)
    elif isinstance(value, str) and _HEXADECIMAL.fullmatch(value):
        number = Decimal(int(value, 16))
    elif isinstance(value, str) and _NUMBER.fullmatch(value):
        try:
            number = Decimal(value.strip())
        except InvalidOperation:
            number = None
    if number is None or not number.is_finite():
        raise _invalid(value, allowed)
    return number


def integer(value: Any, low: int, high: int) -> int:
    """Return a whole number from `low` to `high`, both included."""
    if type(value) is int and low <= value <= high:  # as it usually is, and thousands of rows are read each minute
        return value
    number = _number(value, allowed := f"{low} to {high}")
    if not low <= number <= high or int(number) != number:
        raise _invalid(value, allowed)
    return int(number)


def code(value: Any, kind: type[Code]) -> Code:
    """Return one of the integer codes of `kind`."""
    try:
        return kind(integer(value, min(kind), max(kind)))
    except ValueError:
        names = ", ".join(f"{member.value} ({member.name})" for member in kind)
        raise _invalid(value, names) from None


def real(value: Any, low: float, high: float) -> float:
    """Return a number from `low` to `high`, both included."""
    allowed = f"{low:g} to {high:g}"
    number = float(_number(value, allowed))
    if not low <= number <= high:
        raise _invalid(value, allowed)
    return number


def positive(value: Any, high: float) -> float:
    """Return a number above 0 and at most `high`."""
    allowed = f"above 0, to {high:g}"
    number = float(_number(value, allowed))
    if not 0 < number <= high:
        raise _invalid(value, allowed)
    return number


def power(value: Any) -> float:
    """Return a power (W) that a meter can have."""
    return positive(value, HIGHEST_POWER_W)


def factor(value: Any) -> float:
    """Return a factor: finite and not 0."""
    allowed = "a finite number other than 0"
    number = float(_number(value, allowed))
    if number == 0 or not math.isfinite(number):
        raise _invalid(value, allowed)
    return number


def finite(value: Any) -> float:
    """A finite number."""
    allowed = "a finite number"
    number = float(_number(value, allowed))
    if not math.isfinite(number):
        raise _invalid(value, allowed)
    return number


def one_of(value: Any, numbers: Sequence[int]) -> int:
    """One of several whole numbers."""
    allowed = ", ".join(map(str, numbers))
    number = _number(value, allowed)
    if number not in numbers:
        raise _invalid(value, allowed)
    return int(number)


def raw_values(value: Any) -> tuple[int | float, ...]:
    """Numbers to compare raw values with, in ascending order: a list, or a text with spaces between them."""
    if isinstance(value, str):
        value = value.strip("{} ").replace(",", " ").split()
    elif not isinstance(value, list | tuple):
        value = [value]
    try:
        return tuple(sorted({raw_value(each) for each in value}))
    except InvalidValueError as err:
        raise InvalidValueError(f"has a value that {err}") from None


def raw_value(value: Any) -> int | float:
    """Return a number for comparison with raw values: an int if it is whole."""
    allowed = "a finite number"
    number = _number(value, allowed)
    if abs(number) < _BEYOND_INTEGERS and int(number) == number:
        return int(number)
    if not math.isfinite(float(number)):
        raise _invalid(value, allowed)
    return float(number)


def flag(value: Any) -> bool:
    """Return true or false."""
    found = value if isinstance(value, bool) else _FLAGS.get(str(value).strip().lower())
    if found is None:
        raise _invalid(value, "true, false")
    return found


def register_address(value: Any) -> int:
    """Return a register address as sent in a request, counted from 0."""
    try:
        return integer(value, 0, HIGHEST_ADDRESS)
    except InvalidValueError as err:
        if reference := manual_reference(value):
            function_code, address = reference
            hint = f"in a manual this is function_code {function_code:d} and register_address {address}"
            raise InvalidValueError(f"{err}; {hint}") from None
        raise


def manual_reference(value: Any) -> tuple[FunctionCode, int] | None:
    """Return the function code and address that a number such as 300343 means in a manual.

    Many manuals count input registers from 300001, and holding registers from 400001.
    """
    try:
        number = int(_number(value, ""))
    except InvalidValueError:
        return None
    for first, function_code in _MANUAL_REFERENCES.items():
        if first <= number < first + REGISTER_SPACE:
            return function_code, number - first
    return None


def _text(value: Any) -> str:
    return (value if isinstance(value, str) else str(value)).strip()


def label(value: Any) -> str:
    """Return a text, possibly empty, for a tag that every readings store can hold unchanged."""
    if issue := label_issue(_text(value)):
        raise InvalidValueError(f"{shown(value)} {issue}")
    return _text(value)


def measurement(value: Any) -> str:
    """Return the name of a measurement that every readings store can hold unchanged."""
    text = name(value)
    if issue := measurement_issue(text):
        raise InvalidValueError(f"{shown(value)} {issue}")
    return text


def name(value: Any) -> str:
    """Return a text that is not only white space."""
    if value is None or not _text(value):
        raise _invalid(value, "a name")
    return _text(value)


def host(value: Any) -> str:
    """Return a host name or an address."""
    text = name(value)
    if len(text) > MAX_HOST_LENGTH:
        raise InvalidValueError(f"is {len(text)} characters long; allowed: {MAX_HOST_LENGTH}")
    if not text.isprintable() or len(text.split()) > 1:
        raise _invalid(value, "a name or an address without white space and control characters")
    return text


def transport(value: Any) -> TransportKind:
    """A kind of transport, by its name."""
    try:
        return TransportKind(_text(value).lower())
    except ValueError:
        raise _invalid(value, ", ".join(TRANSPORT_NAMES)) from None


def serial_settings(value: Any) -> str:
    """The settings of a serial line: baud rate, data bits, parity, stop bits, such as `9600 8N1`."""
    found = _SERIAL_SETTINGS.fullmatch(_text(value))
    if not found:
        raise _invalid(value, "baud rate, then 7 or 8 bits, parity N, E or O, and 1 or 2 stop bits, such as 9600 8N1")
    return f"{found[1]} {found[2]}{found[3].upper()}{found[4]}"
