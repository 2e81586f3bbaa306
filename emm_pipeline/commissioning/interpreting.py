"""Interpret registers of an unknown device in every type and order; mark plausible values, and find a known value.

Pure. Plausible values are those that meters usually have. A voltage or a frequency is recognized by its range; integers
also in tenths, hundredths or thousandths. A float from 0.001 to 10 000 000 is plausible, because in the wrong order its
exponent consists of other bits and the value is hardly ever in this range. An integer uses only a small part of its
type's range, so small values are plausible, in the word order in which the value is smallest. Swapped bytes are rare,
and plausible only if the bytes in normal order are not. 0 is the same in every type and order, so it proves nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from emm_pipeline.fleet import DataType, Order
from emm_pipeline.modbus.values import decode_raw

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Layout(NamedTuple):
    """The byte and word order of a value, as a name (A is the most significant byte) and as codes."""

    name: str
    word_order: Order
    byte_order: Order


LAYOUTS = (
    Layout("ABCD", Order.BIG_ENDIAN, Order.BIG_ENDIAN),
    Layout("CDAB", Order.LITTLE_ENDIAN, Order.BIG_ENDIAN),
    Layout("BADC", Order.BIG_ENDIAN, Order.LITTLE_ENDIAN),
    Layout("DCBA", Order.LITTLE_ENDIAN, Order.LITTLE_ENDIAN),
)

LAYOUTS_OF_ONE_WORD = (LAYOUTS[0], LAYOUTS[2])
"""Word order that is reported for a single register, which has none."""

FLOATS = (DataType.FLOAT, DataType.FLOAT64)
UNSIGNED_OF = {
    DataType.INT: DataType.UINT16,
    DataType.LONG: DataType.UINT32,
    DataType.INT64: DataType.UINT64,
}

_ROWS = (
    DataType.INT,
    DataType.UINT16,
    DataType.LONG,
    DataType.UINT32,
    DataType.FLOAT,
    DataType.INT64,
    DataType.UINT64,
    DataType.FLOAT64,
)

SCALES = (1.0, 0.1, 10.0, 0.01, 100.0, 0.001, 1000.0, 0.0001, 10000.0)
"""The scales that are tried for a known value, the usual ones first."""

_QUANTITIES = (("voltage", "V", 80.0, 500.0), ("frequency", "Hz", 45.0, 65.0))
_INTEGER_SCALES = {
    ("voltage", 1): (1.0, 0.1),  # in hundredths, most numbers would be a plausible voltage
    ("voltage", 2): (1.0, 0.1, 0.01, 0.001),
    ("voltage", 4): (1.0, 0.1, 0.01, 0.001),
    ("frequency", 1): (1.0, 0.1, 0.01),
    ("frequency", 2): (1.0, 0.1, 0.01, 0.001),
    ("frequency", 4): (1.0, 0.1, 0.01, 0.001),
}
"""The scales of a plausible value, by quantity and number of registers."""

_NO_VALUE = ((0xFFFF, 0xFFFF), (0x7FFF, 0xFFFF), (0x8000, 0))
"""Patterns that often mean "no value": the first register, and all others."""

_LARGEST_ORDINARY = {1: 9_999, 2: 10**8, 4: 10**12}
_ORDINARY_FLOATS = (1e-3, 1e7)
_SMALLEST_NORMAL = {DataType.FLOAT: 2.0**-126, DataType.FLOAT64: 2.0**-1022}


@dataclass(frozen=True, slots=True)
class Interpretation:
    """The registers from `offset` (0 is the first one), decoded as a value of a type in an order.

    `raw` is the value without scale. `plausible` describes why the value is plausible; None if it is not.
    """

    offset: int
    data_type: DataType
    layout: Layout
    raw: int | float
    plausible: str | None = None


@dataclass(frozen=True, slots=True)
class Fit:
    """An interpretation whose raw value times `scale` is the expected value."""

    interpretation: Interpretation
    scale: float
    value: float
    error: float
    """Relative deviation from the expected value."""


def interpret(words: Sequence[int]) -> list[Interpretation]:
    """Return every interpretation of the registers, ordered by offset, type and layout."""
    found: list[Interpretation] = []
    for offset in range(len(words)):
        for data_type in DataType:
            part = words[offset : offset + data_type.count]
            if len(part) == data_type.count:
                found += _in_every_layout(part, offset, data_type)
    return found


def _in_every_layout(words: Sequence[int], offset: int, data_type: DataType) -> Iterator[Interpretation]:
    layouts = LAYOUTS if len(words) > 1 else LAYOUTS_OF_ONE_WORD
    raws = [decode_raw(words, data_type, layout.word_order, layout.byte_order) for layout in layouts]
    if data_type in FLOATS:
        remarks = [_plausible_float(raw, data_type) for raw in raws]
    else:
        half = len(raws) // 2  # the first half has big-endian bytes
        as_they_are = _plausible_integers(raws[:half], data_type)
        swapped = [None] * half if any(as_they_are) else _plausible_integers(raws[half:], data_type)
        remarks = [*as_they_are, *swapped]
    for layout, raw, plausible in zip(layouts, raws, remarks, strict=True):
        yield Interpretation(offset, data_type, layout, raw, plausible)


def _plausible_float(raw: float, data_type: DataType) -> str | None:
    if not math.isfinite(raw) or abs(raw) < _SMALLEST_NORMAL[data_type]:
        return None
    for quantity, unit, low, high in _QUANTITIES:
        if low <= raw <= high:
            return f"{quantity} in {unit}"
    low, high = _ORDINARY_FLOATS
    return "of usual size" if low <= abs(raw) <= high else None


def _plausible_integers(raws: Sequence[int | float], data_type: DataType) -> list[str | None]:
    """Return for each word order why its value is plausible; at most the smallest value is."""
    smallest = min(raws, key=abs)
    return [_plausible_integer(raw, data_type.count) if raw == smallest else None for raw in raws]


def _plausible_integer(raw: float, count: int) -> str | None:
    for quantity, unit, low, high in _QUANTITIES:
        for scale in _INTEGER_SCALES[quantity, count]:
            if low <= raw * scale <= high:
                return f"{quantity} in {unit}" if scale == 1 else f"{quantity} in {scale:g} {unit}"
    return "of usual size" if 0 < abs(raw) <= _LARGEST_ORDINARY[count] else None


def no_value(words: Sequence[int]) -> str | None:
    """Return a remark on registers that usually mean "no value"; None for others.

    These are: all bits set, and the lowest and highest signed number (SunSpec, and the manuals of ABB's meters).
    """
    if not any(words):
        return "0 in every type and order: it does not show which is right"
    first, rest = words[0], set(words[1:])
    return "often means: no value" if any(first == one and rest <= {other} for one, other in _NO_VALUE) else None


def tolerance(expected: str, percent: float = 1.0) -> float:
    """Return the allowed deviation from a displayed value: `percent` of it or half of its last digit, if that is more.

    Args:
        expected: The value as typed: "50" allows 49.5 to 50.5, "50.02" allows 1 % of it.
        percent: The allowed deviation in percent.
    """
    mantissa, _, exponent = expected.lower().partition("e")
    decimals = len(mantissa.partition(".")[2])
    half_digit = 0.5 * 10.0 ** (int(exponent or 0) - decimals)
    return max(abs(float(expected)) * percent / 100, half_digit * (1 + 1e-9))


def find_fits(words: Sequence[int], expected: float, within: float) -> list[Fit]:
    """Return the interpretations that give the expected value, each at most once, with the best scale.

    Interpretations that use all of the requested registers come first. After that, usual scales come before unusual
    ones, closer values before others, and a signed type before the unsigned type of the same size.
    """
    fits = []
    for each in interpret(words):
        if not math.isfinite(each.raw) or not each.raw:
            continue
        values = [(abs(each.raw * scale - expected), rank, scale) for rank, scale in enumerate(SCALES)]
        distance, _, scale = min(values)
        if distance <= within:
            fits.append(Fit(each, scale, each.raw * scale, distance / abs(expected)))
    return sorted(fits, key=lambda fit: _rank(fit, len(words)))


def _rank(fit: Fit, words: int) -> tuple[bool, int, float, int, int]:
    found = fit.interpretation
    takes_all = found.data_type.count == words
    return not takes_all, SCALES.index(fit.scale), round(fit.error, 6), found.offset, found.data_type


def difference(first: Fit, other: Fit) -> str:
    """Describe how the other fit differs from the first, for a person who has to choose."""
    a, b = first.interpretation, other.interpretation
    if a.offset == b.offset and a.layout == b.layout and UNSIGNED_OF.get(a.data_type) == b.data_type:
        return f"the same up to {2 ** (16 * a.data_type.count - 1) - 1}; negative numbers need {a.data_type.name}"
    if a.raw == b.raw and a.offset == b.offset and a.data_type.count > b.data_type.count:
        return f"a part of the same registers: larger numbers need {a.data_type.name}"
    if a.raw == b.raw and a.offset != b.offset:
        return f"the same number, begins at another register ({b.offset - a.offset:+d}): wait for a larger one"
    if a.offset != b.offset:
        return f"begins at another register ({b.offset - a.offset:+d}): see which follows the display"
    return "see which follows the display as the value changes"


def grid(found: Sequence[Interpretation]) -> Iterator[tuple[int, list[DataType], dict[str, Interpretation]]]:
    """Yield table rows: offset, type (and the unsigned one if it gives the same value), interpretation by layout."""
    for offset, at_offset in groupby(found, key=lambda each: each.offset):
        rows: dict[DataType, dict[str, Interpretation]] = {}
        for each in at_offset:
            rows.setdefault(each.data_type, {})[each.layout.name] = each
        for data_type in _ROWS:
            if data_type not in rows:
                continue
            unsigned = UNSIGNED_OF.get(data_type)
            if unsigned and _raws(rows[data_type]) == _raws(rows[unsigned]):
                yield offset, [data_type, unsigned], rows[data_type]
                del rows[unsigned]
            else:
                yield offset, [data_type], rows[data_type]


def _raws(row: dict[str, Interpretation]) -> list[int | float]:
    return [each.raw for each in row.values()]
