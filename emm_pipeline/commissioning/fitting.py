"""Find the interpretations of registers that give the value on a display, and how they differ. Pure.

The plain types come first. The types and offsets of few devices (`FURTHER_TYPES`, and then `OFFSETS`) are tried only if
no usual interpretation fits, because some of so many would fit by chance. `composed` has those that use a part of a
register, or several registers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emm_pipeline.commissioning.interpreting import (
    LAYOUTS,
    LAYOUTS_OF_ONE_WORD,
    UNSIGNED_OF,
    Interpretation,
    interpret,
)
from emm_pipeline.fleet import DataType
from emm_pipeline.modbus.values import decode_raw

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

FURTHER_TYPES = (
    DataType.SIGN_MAGNITUDE,
    DataType.UINT24,
    DataType.UINT48,
    DataType.INT48,
    DataType.BCD4,
    DataType.BCD8,
    DataType.MODULO_10000,
)
"""Types that few devices use, tried for a known value that no plain type gives."""

SCALES = (1.0, 0.1, 10.0, 0.01, 100.0, 0.001, 1000.0, 0.0001, 10000.0)
"""The scales that are tried for a known value, the usual ones first."""

OFFSETS = ((0.1, -100.0), (1.0, -10_000.0), (1.0, -16_384.0), (1.0, -20_000.0), (0.1, -1000.0), (1.0, -40.0))
"""Scales and offsets with which devices send negative numbers without a sign, tried if nothing else fits."""


@dataclass(frozen=True, slots=True)
class Fit:
    """An interpretation that, times `scale` and plus `value_offset`, gives the expected value.

    `columns` are the further columns of its row in the table `registers`.
    """

    interpretation: Interpretation
    scale: float
    value: float
    error: float
    """Distance from the expected value, as a fraction of it."""
    value_offset: float = 0.0
    columns: dict[str, int | bool] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        interpretation: Interpretation,
        scale: float,
        value: float,
        expected: float,
        columns: dict[str, int | bool] | None = None,
    ) -> Fit:
        """Return the fit of a value without an offset."""
        return cls(interpretation, scale, value, abs(value - expected) / abs(expected), columns=columns or {})


def tolerance(expected: str, percent: float = 1.0) -> float:
    """Return how far a value may be from a display: `percent`, or half of the last digit, whichever is more.

    Args:
        expected: As it was typed: "50" may be 49.5 to 50.5, "50.02" is within 1 % of that.
        percent: Of the expected value.
    """
    mantissa, _, exponent = expected.lower().partition("e")
    decimals = len(mantissa.partition(".")[2])
    half_digit = 0.5 * 10.0 ** (int(exponent or 0) - decimals)
    return max(abs(float(expected)) * percent / 100, half_digit * (1 + 1e-9))


def find_fits(words: Sequence[int], expected: float, within: float) -> list[Fit]:
    """Return the interpretations that give the expected value, each at most once, with the scale that comes nearest.

    `FURTHER_TYPES`, and then `OFFSETS`, are tried only if no usual interpretation fits.

    Interpretations that use all words, as requested, come first. Usual scales come before unusual ones, nearer values
    before farther ones, and a signed type before its unsigned counterpart.
    """
    fits = scaled_fits(interpret(words), expected, within)
    if not any(fit.interpretation.data_type.count == len(words) for fit in fits):
        fits += scaled_fits(interpret_further(words), expected, within)
    if not fits:
        fits = _fits_with_offset(words, expected, within)
    return sorted(fits, key=lambda fit: _rank(fit, len(words)))


def interpret_further(words: Sequence[int]) -> Iterator[Interpretation]:
    """Yield every interpretation of the words as one of the types that few devices use."""
    for offset in range(len(words)):
        for data_type in FURTHER_TYPES:
            part = words[offset : offset + data_type.count]
            if len(part) == data_type.count:
                for layout in LAYOUTS if len(part) > 1 else LAYOUTS_OF_ONE_WORD:
                    raw = decode_raw(part, data_type, layout.word_order, layout.byte_order)
                    yield Interpretation(offset, data_type, layout, raw)


def scaled_fits(found: Iterable[Interpretation], expected: float, within: float) -> list[Fit]:
    """Return the interpretations that give the expected value with one of `SCALES`, each with the nearest one."""
    fits = []
    for each in found:
        if not math.isfinite(each.raw) or not each.raw:
            continue
        values = [(abs(each.raw * scale - expected), rank, scale) for rank, scale in enumerate(SCALES)]
        distance, _, scale = min(values)
        if distance <= within:
            fits.append(Fit.of(each, scale, each.raw * scale, expected))
    return fits


def _fits_with_offset(words: Sequence[int], expected: float, within: float) -> list[Fit]:
    """Yield interpretations of single registers, in the byte order that nearly all devices have."""
    fits = []
    for offset, word in enumerate(words):
        for scale, value_offset in OFFSETS:
            value = word * scale + value_offset
            if abs(value - expected) <= within:
                found = Interpretation(offset, DataType.UINT16, LAYOUTS[0], word)
                fits.append(Fit(found, scale, value, abs(value - expected) / abs(expected), value_offset))
    return fits


def _rank(fit: Fit, words: int) -> tuple[bool, int, float, int, int]:
    found = fit.interpretation
    takes_all = found.data_type.count == words
    return not takes_all, SCALES.index(fit.scale), round(fit.error, 6), found.offset, found.data_type


def difference(first: Fit, other: Fit) -> str:
    """Return how the other fit differs from the first, for the person who has to choose."""
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
