"""Read tables from CSV: a header, then rows, each with its line number (pure).

Lines that begin with # are comments, also if a spreadsheet has put them into quotation marks. Lines without content,
and empty cells behind those of the header, are skipped. The separator is comma, semicolon or tab, whichever is most
frequent in the header. Spaces around a cell are ignored; an empty cell is null. A file with semicolons comes from a
spreadsheet whose numbers may have decimal commas, which are converted to points.
"""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_SEPARATORS = ",;\t"
_QUOTED_REMARK = re.compile(rf'"#(?:[^"]|"")*"[{_SEPARATORS}\s]*')
"""A remark, with nothing in the other cells: a row whose first cell begins with # has more."""
_DECIMAL_COMMA = re.compile(r"^([+-]?\d+),(\d+(?:[eE][+-]?\d+)?)$", re.ASCII)

ISSUES_SHOWN = 50
"""Number of issues of a file that are shown."""

CsvRow = dict[str, str | None]
"""Maps each column to its cell."""


class CsvIssue(NamedTuple):
    """An error in the file, and its line (None: the error concerns the whole file)."""

    line: int | None
    reason: str

    def __str__(self) -> str:
        return self.reason if self.line is None else f"line {self.line}: {self.reason}"


def told(issues: Sequence[CsvIssue]) -> list[str]:
    """Return the first issues as lines, and how many more there are."""
    more = [f"and {len(issues) - ISSUES_SHOWN} more"] if len(issues) > ISSUES_SHOWN else []
    return [*map(str, issues[:ISSUES_SHOWN]), *more]


class CsvTable(NamedTuple):
    """The rows that could be read, each with its line number, and the issues of the others."""

    rows: list[tuple[int, CsvRow]]
    issues: list[CsvIssue]


def read_csv(text: str, columns: Sequence[str], needed: Sequence[str], text_columns: Collection[str]) -> CsvTable:
    """Read a whole table, and collect all its issues.

    Args:
        text: The content of the file.
        columns: The columns that it may have, in any order.
        needed: The columns that it must have.
        text_columns: The columns whose cells are not numbers.
    """
    table = CsvTable([], [])
    lines = [(number, line.rstrip("\r")) for number, line in enumerate(text.split("\n"), 1) if is_content(line)]
    if not lines:
        table.issues.append(CsvIssue(None, f"has no header; required columns: {', '.join(needed)}"))
        return table
    header_number, header_line = lines[0]
    separator = max(_SEPARATORS, key=header_line.count)
    try:
        header = [name.lower() for name in _without_empty(_cells(header_line, separator), 1)]
    except csv.Error as err:
        table.issues.append(CsvIssue(header_number, str(err)))
        return table
    if reasons := _header_issues(header, columns, needed):
        table.issues.extend(CsvIssue(header_number, reason) for reason in reasons)
        return table
    for number, line in lines[1:]:
        try:
            cells = _without_empty(_cells(line, separator), len(header))
        except csv.Error as err:
            table.issues.append(CsvIssue(number, str(err)))
            continue
        if len(cells) != len(header):
            cells_found = f"{len(cells)} cell{'s' * (len(cells) != 1)}"
            table.issues.append(CsvIssue(number, f"has {cells_found}, the header has {len(header)}"))
            continue
        row = {name: cell or None for name, cell in zip(header, cells, strict=True)}
        table.rows.append((number, _with_decimal_points(row, text_columns) if separator == ";" else row))
    return table


def is_content(line: str) -> bool:
    """Whether a line is the header or a row: no comment, no separator for Excel, not without content."""
    is_remark = line.startswith("#") or _QUOTED_REMARK.fullmatch(line) is not None
    return bool(line.strip(f"{_SEPARATORS} \r")) and not is_remark and not line.startswith("sep=")


def _without_empty(cells: list[str], least: int) -> list[str]:
    """Return cells without the empty ones at the end, but at least so many as there are up to `least`."""
    while len(cells) > least and not cells[-1]:
        cells.pop()
    return cells


def _cells(line: str, separator: str) -> list[str]:
    reader = csv.reader([line], delimiter=separator, skipinitialspace=True, strict=True)
    return [cell.strip() for cell in next(reader)]


def _header_issues(header: Sequence[str], columns: Sequence[str], needed: Sequence[str]) -> list[str]:
    unknown = [name for name in header if name not in columns]
    missing = [name for name in needed if name not in header]
    twice = sorted({name for name in header if header.count(name) > 1})
    return [
        *([f"unknown columns {', '.join(map(repr, unknown))}; allowed: {', '.join(columns)}"] if unknown else []),
        *([f"the header lacks {', '.join(missing)}"] if missing else []),
        *([f"the header has {', '.join(twice)} more than once"] if twice else []),
    ]


def _with_decimal_points(row: CsvRow, text_columns: Collection[str]) -> CsvRow:
    return {
        column: cell if cell is None or column in text_columns else _DECIMAL_COMMA.sub(r"\1.\2", cell)
        for column, cell in row.items()
    }
