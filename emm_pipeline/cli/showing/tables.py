"""Print tables, and format numbers for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from emm_pipeline.cli.output import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_CELL = 300
"""Maximum number of characters in a cell; longer texts are cut."""

LARGEST_COUNTER = 1e15
"""Largest whole number that is shown with all its digits: a float holds it exactly, and a table has room for it."""


def console() -> Console:
    """Return the console for stdout; piped output is not cut at 80 columns."""
    out = Console()
    return out if out.is_terminal else Console(width=160)


def styled(cell: object, style: str) -> Text:
    """Return a cell in a style of rich, such as `bold red`."""
    return Text(printable(cell, MAX_CELL), style)


def make_table(
    headers: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[str] = (), style: str = "bold"
) -> Table:
    """Return a table without borders. Cells are text, never markup; None is an empty cell; long cells are wrapped.

    Args:
        headers: The columns' names.
        rows: Cells: anything that can be written, or what `styled` returned.
        right: The names of the columns that hold numbers.
        style: The style of the headers.
    """
    table = Table(box=None, header_style=style, pad_edge=False, padding=(0, 2, 0, 0))
    right = set(right)
    for name in headers:
        table.add_column(Text(name), justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else styled("" if cell is None else cell, "") for cell in row))
    return table


def print_table(
    headers: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[str] = (), style: str = "bold"
) -> None:
    """Print rows as a table; the parameters are those of `make_table`."""
    console().print(make_table(headers, rows, right=right, style=style))


def shown(value: float) -> str:
    """Return a value as text: counters with all their digits, others with the seven digits of a 32-bit float."""
    return f"{value:.0f}" if value.is_integer() and abs(value) < LARGEST_COUNTER else f"{value:.7g}"
