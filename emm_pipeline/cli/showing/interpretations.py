"""Output of `emm read`: registers, their possible interpretations, and those that match an expected value."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from emm_pipeline.cli.output import say
from emm_pipeline.cli.showing.register_lines import further_columns, insert_line, print_row
from emm_pipeline.cli.showing.tables import print_table, shown, styled
from emm_pipeline.commissioning.fitting import Fit, difference
from emm_pipeline.commissioning.interpreting import LAYOUTS, Interpretation, grid, interpret, no_value
from emm_pipeline.commissioning.rows import row_of
from emm_pipeline.fleet import DataType, FunctionCode, Register
from emm_pipeline.modbus.labels import words_as_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.text import Text

    from emm_pipeline.commissioning.endpoints import Endpoint
    from emm_pipeline.commissioning.searching import SearchedRegisters
    from emm_pipeline.commissioning.texts import FoundText
    from emm_pipeline.readings import Request

MOST_REGISTERS_IN_FULL = 8
"""With more registers than this, only plausible interpretations are shown, because a full table would hide them."""

SHORTEST_TEXT = 4
"""Minimum number of characters; shorter texts are more likely numbers."""

_OTHER_SIGN = """
The number has no sign, or the other one. If it stays the same while the display changes its sign, the sign is in
another register: give it as --companion while the value is negative."""

_ORDERS = " · ".join(
    [
        f"{LAYOUTS[0].name} word_order {LAYOUTS[0].word_order:d}, byte_order {LAYOUTS[0].byte_order:d}",
        *(f"{layout.name} {layout.word_order:d}, {layout.byte_order:d}" for layout in LAYOUTS[1:]),
    ]
)


def print_words(request: Request, words: Sequence[int]) -> None:
    """Print the raw registers, hexadecimal and decimal."""
    remark = no_value(words)
    rows = (
        (request.address_of(offset), f"0x{word:04X}", word, None if offset else remark)
        for offset, word in enumerate(words)
    )
    print_table(("address", "hex", "decimal", ""), rows, right=("address", "decimal"))
    if text := likely_text(words):
        say(f"as text (data_type 17, length {len(words)}): {text}")
    say()


def likely_text(words: Sequence[int]) -> str | None:
    """Return the words as text if they are printable ASCII, apart from the padding at the end."""
    holding = FunctionCode.READ_HOLDING_REGISTERS
    text = words_as_text(words, Register(0, "", None, DataType.STRING, holding, length=len(words)))
    raw = b"".join(word.to_bytes(2, "big") for word in words).rstrip(b"\0 ")
    is_text = len(raw) >= SHORTEST_TEXT and raw.isascii() and raw.decode("ascii").isprintable()
    return text if is_text else None


def print_meanings(request: Request, words: Sequence[int], *, show_all: bool) -> None:
    """Print a row for each address and type and a column for each order, and mark plausible values."""
    rows = []
    left_out = 0
    for offset, types, row in grid(interpret(words)):
        plausible = [f"{name} {each.plausible}" for name, each in row.items() if each.plausible]
        if not plausible and len(words) > MOST_REGISTERS_IN_FULL and not show_all:
            left_out += 1
            continue
        cells = [_cell(row.get(layout.name)) for layout in LAYOUTS]
        names = ", ".join(data_type.name for data_type in types)
        rows.append((request.address_of(offset), names, *cells, "; ".join(plausible)))
    names_of_layouts = [layout.name for layout in LAYOUTS]
    # Swapped bytes, which are rare, come last.
    below = ("plausible", *reversed(names_of_layouts[1:]))
    print_table(("address", "type", *names_of_layouts, "plausible"), rows, right=("address",), below=below)
    say(f"\n{_ORDERS}; * is plausible")
    if left_out:
        say(f"{left_out} rows without a plausible value are not shown: --all shows them")
    say()


def _cell(found: Interpretation | None) -> Text | None:
    if found is None:
        return None
    number = _shown(found.raw)
    return styled(f"{number} *", "bold green") if found.plausible else styled(number, "dim")


def _shown(raw: float) -> str:
    return shown(float(raw)) if isinstance(raw, float) else str(raw)


def print_fits(request: Request, fits: Sequence[Fit], expect: str) -> None:
    """Print the interpretations that give the expected value, best first, and the table row for the best one."""
    count = "fits" if len(fits) == 1 else f"fits in {len(fits)} ways, the most likely first"
    say(f"function {request.function_code:d}: {expect} {count}\n")
    further = [_further(request, fit) for fit in fits]
    numbers = ("address", "word_order", "byte_order", "scale", "value")
    columns = ("address", "type", "order", *numbers[1:], *(["further columns"] if any(further) else []), "")
    rows = (
        (
            *_described(request, fit),
            *([further[place]] if any(further) else []),
            difference(fits[0], fit) if place else None,
        )
        for place, fit in enumerate(fits)
    )
    print_table(columns, rows, right=numbers)
    if fits[0].scale < 0:
        say(_OTHER_SIGN)
    print_row(row_of(request, fits[0]))


def _described(request: Request, fit: Fit) -> tuple[object, ...]:
    found = fit.interpretation
    layout = found.layout
    return (
        *(request.address_of(found.offset), f"{found.data_type.name} ({found.data_type:d})"),
        layout.name if found.data_type.count > 1 else layout.name[:2],
        *(int(layout.word_order), int(layout.byte_order), f"{fit.scale:g}"),
        shown(fit.value),
    )


def _further(request: Request, fit: Fit) -> str:
    columns = further_columns(row_of(request, fit))
    return ", ".join(f"{name} {value}" for name, value in columns.items() if name != "scale")


def print_texts(request: Request, texts: Sequence[FoundText]) -> None:
    """Print the texts that were found, and the table row for the first of them."""
    for found in texts:
        registers = f"{found.row.register_address} to {found.row.end - 1}, byte_order {found.row.byte_order:d}"
        say(f"function {request.function_code:d}: registers {registers}: {found.text}")
    print_row(texts[0].row)


def to_json(endpoint: Endpoint, unit: int, blocks: Sequence[SearchedRegisters], *, expected: bool) -> dict[str, Any]:
    """Return all replies and interpretations as types that JSON has; numbers that are not finite are null."""
    return {
        "host": endpoint.host,
        "port": endpoint.port,
        "unit": unit,
        "blocks": [_block_as_json(block, expected=expected) for block in blocks],
    }


def _block_as_json(block: SearchedRegisters, *, expected: bool) -> dict[str, Any]:
    request, reply = block.request, block.reply
    said: dict[str, Any] = {
        "function_code": int(request.function_code),
        "address": request.address,
        "words": list(reply.words),
        "seconds": round(reply.seconds, 4),
        "error": reply.reason or None,
        "exception_code": reply.exception_code,
        "interpretations": [_interpretation_as_json(request, each) for each in interpret(reply.words)],
    }
    if expected:
        said["fits"] = [
            _interpretation_as_json(request, fit.interpretation)
            | {"scale": fit.scale, "value_offset": fit.value_offset, "value": fit.value, **fit.columns}
            | {"insert": insert_line(row_of(request, fit))}
            for fit in block.fits
        ]
        said["texts"] = [
            {"address": each.row.register_address, "text": each.text, "insert": insert_line(each.row)}
            for each in block.texts
        ]
    return said


def _interpretation_as_json(request: Request, found: Interpretation) -> dict[str, Any]:
    return {
        "address": request.address_of(found.offset),
        "data_type": int(found.data_type),
        "type": found.data_type.name,
        "order": found.layout.name,
        "word_order": int(found.layout.word_order),
        "byte_order": int(found.layout.byte_order),
        "raw": found.raw if math.isfinite(found.raw) else None,
        "plausible": found.plausible,
    }
