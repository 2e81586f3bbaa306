"""Find a known value that is a part of a register, or needs several: bytes, signs, halves, powers of ten. Pure.

There are so many combinations that some give any value by chance. Therefore they must give all digits of the display,
unless nothing else fits, and `find_all_fits` tries them only if no usual interpretation does so. If the manual names
the other register (the companion), there are few combinations, and the usual deviation is allowed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from emm_pipeline.commissioning.fitting import SCALES, Fit, find_fits, scaled_fits
from emm_pipeline.commissioning.interpreting import LAYOUTS, UNSIGNED_OF, Interpretation, interpret
from emm_pipeline.fleet import DataType, Order
from emm_pipeline.modbus.scaling import HIGHEST_POWER
from emm_pipeline.modbus.values import decode_raw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    AddressOf = Callable[[int], int]
    """Returns the address of the register that holds a word."""

BYTE_MASKS = (0x00FF, 0xFF00)
BYTE_SCALES = (1.0, 0.1)

_BIG_ENDIAN_BYTES = LAYOUTS[:2]
_WORD = 1 << 16
_SIGN_BIT = 0x8000
_MAGNITUDE = 0x7FFF_FFFF


def find_all_fits(
    words: Sequence[int], expected: float, within: float, exact: float, address_of: AddressOf = int
) -> list[Fit]:
    """Return the interpretations that give the expected value, the most likely first.

    Args:
        words: The registers.
        expected: The value on the display.
        within: How far an interpretation may be from it.
        exact: How far it may be because the display rounds.
        address_of: Returns the address of the register that holds a word.
    """
    fits = find_fits(words, expected, within)
    if any(fit.interpretation.data_type.count == len(words) or fit.error * abs(expected) <= exact for fit in fits):
        return fits
    composed = composed_fits(words, expected, exact, address_of)
    if not fits and not composed:
        composed = composed_fits(words, expected, within, address_of)
    return [*fits, *composed]


def composed_fits(words: Sequence[int], expected: float, within: float, address_of: AddressOf = int) -> list[Fit]:
    """Return the parts and combinations of the words that give the expected value."""
    return [
        *_sign_bits(words, expected, within, address_of),
        *_halves_apart(words, expected, within, address_of),
        *_other_signs(words, expected, within),
        *_bytes(words, expected, within),
    ]


def companion_fits(words: Sequence[int], expected: float, within: float, address: int, companion: int) -> list[Fit]:
    """Return the interpretations of the words that give the expected value with the help of another register.

    Args:
        words: The registers that hold the value.
        expected: The value on the display.
        within: How far an interpretation may be from it.
        address: The address of the other register.
        companion: The content of the other register: the upper half of the value, its power of ten, or its sign.
    """
    return [
        *_with_power(words, expected, within, address, companion),
        *_with_upper_half(words, expected, within, address, companion),
        *_with_sign(words, expected, within, address, companion),
    ]


def _sign_bits(words: Sequence[int], expected: float, within: float, address_of: AddressOf) -> Iterator[Fit]:
    """Yield values of two registers of which the highest bit is the sign, and the others are the magnitude."""
    for offset in range(len(words) - 1):
        for layout in _BIG_ENDIAN_BYTES:
            bits = int(decode_raw(words[offset : offset + 2], DataType.UINT32, layout.word_order, layout.byte_order))
            if expected < 0 and bits > _MAGNITUDE:
                found = Interpretation(offset, DataType.UINT32, layout, bits & _MAGNITUDE)
                sign_register = address_of(offset if layout.word_order is Order.BIG_ENDIAN else offset + 1)
                columns = {"mask": _MAGNITUDE, "sign_register": sign_register, "sign_mask": _SIGN_BIT}
                for fit in scaled_fits([found], -expected, within):
                    yield replace(fit, value=-fit.value, columns=columns)


def _halves_apart(words: Sequence[int], expected: float, within: float, address_of: AddressOf) -> Iterator[Fit]:
    """Yield 32-bit numbers whose halves are not next to each other.

    With an upper half of 0, the lower half alone is the same number, which is not tried again.
    """
    for place, upper in ((place, word) for place, word in enumerate(words) if word):
        for data_type, number in _with_upper(upper):
            for scale in SCALES:
                nearest = expected / scale - number
                if -within / scale <= nearest < _WORD + within / scale:
                    for offset, lower in enumerate(words):
                        if abs(lower - nearest) * scale <= within and abs(offset - place) > 1:
                            yield _half_fit(offset, data_type, number + lower, scale, expected, address_of(place))


def _with_upper(upper: int) -> Iterator[tuple[DataType, int]]:
    """Yield, as a signed and as an unsigned number, what an upper half adds to the lower half."""
    yield DataType.LONG, (upper - _WORD if upper & _SIGN_BIT else upper) * _WORD
    yield DataType.UINT32, upper * _WORD


def _half_fit(  # noqa: PLR0913, PLR0917 - the parts of a row
    offset: int, data_type: DataType, raw: int, scale: float, expected: float, upper_address: int
) -> Fit:
    found = Interpretation(offset, data_type, LAYOUTS[0], raw)
    return Fit.of(found, scale, raw * scale, expected, {"high_register_address": upper_address})


def _other_signs(words: Sequence[int], expected: float, within: float) -> Iterator[Fit]:
    """Yield numbers with the other sign: of a device with the other direction, or of which the display has no sign."""
    opposite = [each for each in interpret(words) if each.raw * expected < 0]
    for fit in scaled_fits(opposite, -expected, within):
        if expected < 0:
            yield replace(fit, scale=-fit.scale, value=-fit.value)
        else:
            yield replace(fit, value=-fit.value, columns={"absolute": True})


def _bytes(words: Sequence[int], expected: float, within: float) -> Iterator[Fit]:
    for offset, word in enumerate(words):
        for mask in BYTE_MASKS:
            part = (word & mask) // (mask & -mask)
            for scale in BYTE_SCALES:
                if part and abs(part * scale - expected) <= within:
                    found = Interpretation(offset, DataType.UINT16, LAYOUTS[0], part)
                    yield Fit.of(found, scale, part * scale, expected, {"mask": mask})


def _with_power(words: Sequence[int], expected: float, within: float, address: int, companion: int) -> Iterator[Fit]:
    power = companion - _WORD if companion & _SIGN_BIT else companion
    if abs(power) > HIGHEST_POWER:
        return
    for each in interpret(words):
        value = each.raw * 10.0**power
        if each.layout in _BIG_ENDIAN_BYTES and abs(value - expected) <= within:
            yield Fit.of(each, 1.0, value, expected, {"scale_register": address})


def _with_upper_half(
    words: Sequence[int], expected: float, within: float, address: int, companion: int
) -> Iterator[Fit]:
    for offset, lower in enumerate(words):
        for data_type, number in _with_upper(companion):
            for scale in SCALES:
                if abs((number + lower) * scale - expected) <= within:
                    yield _half_fit(offset, data_type, number + lower, scale, expected, address)


def _with_sign(words: Sequence[int], expected: float, within: float, address: int, companion: int) -> Iterator[Fit]:
    """Yield the magnitudes of a negative value, with each bit of the companion that may be its sign."""
    bits = [1 << place for place in range(16) if companion >> place & 1]
    magnitudes = [
        each for each in interpret(words) if each.data_type in UNSIGNED_OF.values() and each.layout in _BIG_ENDIAN_BYTES
    ]
    for fit in scaled_fits(magnitudes, -expected, within) if expected < 0 else []:
        for bit in bits:
            yield replace(fit, value=-fit.value, columns={"sign_register": address, "sign_mask": bit})
