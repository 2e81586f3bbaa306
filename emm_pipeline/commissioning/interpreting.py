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

PLAIN_TYPES = (
    DataType.INT,
    DataType.UINT16,
    DataType.LONG,
    DataType.UINT32,
    DataType.FLOAT,
    DataType.INT64,
    DataType.UINT64,
    DataType.FLOAT64,
)

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


def interpret(words: Sequence[int]) -> list[Interpretation]:
    """Return every interpretation of the words as a plain type, by offset, type and layout."""
    found: list[Interpretation] = []
    for offset in range(len(words)):
        for data_type in PLAIN_TYPES:
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


def grid(found: Sequence[Interpretation]) -> Iterator[tuple[int, list[DataType], dict[str, Interpretation]]]:
    """Yield table rows: offset, type (and the unsigned one if it gives the same value), interpretation by layout."""
    for offset, at_offset in groupby(found, key=lambda each: each.offset):
        rows: dict[DataType, dict[str, Interpretation]] = {}
        for each in at_offset:
            rows.setdefault(each.data_type, {})[each.layout.name] = each
        for data_type in PLAIN_TYPES:
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
