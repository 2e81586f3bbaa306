"""Print tables that fit the terminal, and format numbers for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from emm_pipeline.cli.output import printable, say

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_CELL = 300
"""Maximum number of characters in a cell; longer texts are cut."""

LARGEST_COUNTER = 1e15
"""Largest whole number that is shown with all its digits: a float holds it exactly, and a table has room for it."""

PIPED_WIDTH = 160
"""The width of a table that does not go to a terminal."""

GAP = 2
WHOLE = 24
"""A cell of up to this width is never broken: a name, an address, a time."""
NARROWEST = 12
"""The width to which a column is narrowed at most, where words must be broken after all."""
INDENT = 4


def console() -> Console:
    """Return the console for stdout; piped output is not cut at 80 columns."""
    out = Console()
    return out if out.is_terminal else Console(width=PIPED_WIDTH)


def styled(cell: object, style: str) -> Text:
    """Return a cell in a style of rich, such as `bold red`."""
    return Text(printable(cell, MAX_CELL), style)


@dataclass(slots=True)
class _Column:
    """A column: its name, its cells, the width that it would take, and the one below which words would break."""

    name: str
    cells: list[Text]
    is_right: bool
    natural: int = 0
    least: int = 0
    width: int = 0

    def __post_init__(self) -> None:
        texts = [self.name, *(cell.plain for cell in self.cells)]
        self.natural = self.width = max(map(cell_len, texts))
        longest_word = max((cell_len(word) for text in texts for word in text.split()), default=0)
        self.least = self.natural if self.natural <= WHOLE else max(longest_word, min(WHOLE, self.natural))

    def lines(self, cell: Text, out: Console) -> list[Text]:
        """Return a cell as lines of the column's width."""
        if cell_len(cell.plain) <= self.width:
            return [cell]
        return list(cell.wrap(out, self.width))

    def padded(self, line: Text | None) -> Text:
        """Return a line with the spaces that align it."""
        line = line.copy() if line else Text()
        spaces = " " * (self.width - cell_len(line.plain))
        return Text.assemble(spaces, line) if self.is_right else Text.assemble(line, spaces)


def print_table(
    headers: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: Iterable[str] = (),
    style: str = "bold",
    below: Sequence[str] = (),
) -> None:
    """Print rows as a table without borders. Cells are text, never markup; None is an empty cell.

    Only long texts are wrapped, between words. If the terminal is too narrow for this, the columns of `below` move to
    a line of their own below each row, the first one first.

    Args:
        headers: The columns' names.
        rows: Cells: anything that can be written, or what `styled` returned.
        right: The names of the columns that hold numbers.
        style: The style of the headers.
        below: The columns that may move, in this order.
    """
    out = console()
    table = [[cell if isinstance(cell, Text) else styled("" if cell is None else cell, "") for cell in r] for r in rows]
    columns = [_Column(name, [row[index] for row in table], name in set(right)) for index, name in enumerate(headers)]
    beside, moved = _place(columns, below, out.width)
    _narrow(beside, out.width)
    lines = [_line(beside, [[Text(column.name, style)] for column in beside], 0)]
    for index in range(len(table)):
        cells = [column.lines(column.cells[index], out) for column in beside]
        lines += [_line(beside, cells, number) for number in range(max(map(len, cells)))]
        lines += _details([(column.name, column.cells[index]) for column in moved], out)
    if out.is_terminal:
        out.print(Text("\n").join(lines), soft_wrap=True, highlight=False)
    else:
        say("\n".join(line.plain for line in lines))


def _place(columns: Sequence[_Column], below: Sequence[str], width: int) -> tuple[list[_Column], list[_Column]]:
    """Return the columns that fit beside each other, and those that move below."""
    beside = list(columns)
    for name in below:
        if sum(column.least for column in beside) + GAP * (len(beside) - 1) <= width:
            break
        beside = [column for column in beside if column.name != name]
    return beside, [column for column in columns if column not in beside]


def _narrow(columns: Sequence[_Column], width: int) -> None:
    """Take the excess width from the widest columns: first as far as words stay whole, then down to NARROWEST."""
    excess = sum(column.width for column in columns) + GAP * (len(columns) - 1) - width
    for floor in ("least", "narrowest"):
        while excess > 0:
            wide = [c for c in columns if c.width > (c.least if floor == "least" else min(c.least, NARROWEST))]
            if not wide:
                break
            max(wide, key=lambda column: column.width).width -= 1
            excess -= 1


def _line(columns: Sequence[_Column], cells: Sequence[Sequence[Text]], number: int) -> Text:
    parts = [
        column.padded(lines[number] if number < len(lines) else None)
        for column, lines in zip(columns, cells, strict=True)
    ]
    line = Text(" " * GAP).join(parts)
    line.rstrip()
    return line


def _details(cells: Sequence[tuple[str, Text]], out: Console) -> list[Text]:
    """Return the cells that moved below their row, each after its column's name; empty ones are left out."""
    told = [Text.assemble((f"{name} " if name else "", "dim"), cell) for name, cell in cells if cell.plain]
    if not told:
        return []
    wrapped = Text("; ").join(told).wrap(out, out.width - INDENT)
    return [Text.assemble(" " * INDENT, line) for line in wrapped]


def shown(value: float) -> str:
    """Return a value as text: counters with all their digits, others with the seven digits of a 32-bit float."""
    return f"{value:.0f}" if value.is_integer() and abs(value) < LARGEST_COUNTER else f"{value:.7g}"
