"""Read and write registers as CSV files, with the columns of `registers` in any order (pure).

Several invalid values are one cell, with spaces between them.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from emm_pipeline.config_db.csv_tables import CsvIssue, read_csv
from emm_pipeline.config_db.editing.register_rows import (
    DEFAULTS,
    NEEDED_COLUMNS,
    OFTEN_USED,
    REGISTER_COLUMNS,
    TEXT_COLUMNS,
    RegisterRow,
    place_of,
    register_row,
    series_of,
)
from emm_pipeline.config_db.validation import check_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from emm_pipeline.config_db.editing.register_rows import Series, TypeRows


@dataclass(slots=True)
class RegisterFile:
    """The content of a file: rows with their line numbers, and the issues."""

    rows: list[tuple[int, RegisterRow]] = field(default_factory=list)
    issues: list[CsvIssue] = field(default_factory=list)

    @property
    def types(self) -> list[str]:
        """The names of the types in the file."""
        return sorted({str(row[0]) for _, row in self.rows})


@dataclass(frozen=True, slots=True)
class Import:
    """The changes that an import makes: the rows to add and to remove, and the number of unchanged rows."""

    add: tuple[RegisterRow, ...]
    remove: tuple[RegisterRow, ...]
    unchanged: int


def read_register_file(content: bytes, type_rows: Iterable[Mapping[str, Any]] = ()) -> RegisterFile:
    """Parse and check a whole file, and collect all its issues.

    Args:
        content: The file's bytes; UTF-8, with or without a byte order mark.
        type_rows: The rows of `meter_types`, whose limits apply to the registers.
    """
    file = RegisterFile()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        line = content.count(b"\n", 0, err.start) + 1
        reason = f"is not UTF-8 (byte 0x{content[err.start]:02x}); save the file as UTF-8"
        file.issues.append(CsvIssue(line, reason))
        return file
    table = read_csv(text, REGISTER_COLUMNS, NEEDED_COLUMNS, TEXT_COLUMNS)
    file.issues += table.issues
    known_types = {str(row.get("type")).strip(): row for row in type_rows}
    for line_number, row in table.rows:
        _check_row(file, line_number, row, known_types.get(str(row["type"])))
    _find_repetitions(file)
    file.issues.sort(key=lambda issue: issue.line or 0)
    return file


def _check_row(
    file: RegisterFile, number: int, row: Mapping[str, str | None], settings: Mapping[str, Any] | None
) -> None:
    fleet = check_rows((), [row], [settings] if settings else [])
    issues = [issue for issue in fleet.issues if issue.table == "registers"]
    file.issues += [CsvIssue(number, f"{issue.column} {issue.reason}") for issue in issues]
    for type_name, meter_type in fleet.types.items():
        file.rows += [(number, register_row(type_name, register)) for register in meter_type.registers]


def _find_repetitions(file: RegisterFile) -> None:
    """Report registers with the same type, name and unit, because they would overwrite each other's points."""
    first: dict[Series, int] = {}
    for number, row in file.rows:
        before = first.setdefault(series_of(row), number)
        if before != number:
            reason = (
                f"measurement_name {row[2]!r} with data_unit {row[3]!r} of type {row[0]!r} is already in line {before}"
            )
            file.issues.append(CsvIssue(number, reason))


def plan_import(database: Mapping[str, TypeRows], rows: Iterable[RegisterRow], *, replace: bool) -> Import:
    """Return the changes when rows are imported: rows of existing series are replaced, others are added.

    Args:
        database: The present rows, by type.
        rows: The imported rows, each series once.
        replace: Also remove rows of the same types that are not among `rows`.
    """
    coming: dict[str, dict[Series, RegisterRow]] = defaultdict(dict)
    for row in rows:
        coming[str(row[0])][series_of(row)] = row
    add: list[RegisterRow] = []
    remove: list[RegisterRow] = []
    unchanged = 0
    for type_name, new in coming.items():
        there = database[type_name].registers if type_name in database else frozenset()
        remove += [row for row in there if (new[series_of(row)] != row if series_of(row) in new else replace)]
        add += [row for row in new.values() if row not in there]
        unchanged += sum(row in there for row in new.values())
    return Import(tuple(add), tuple(sorted(remove, key=str)), unchanged)


def write_register_file(rows: Iterable[RegisterRow]) -> str:
    """Return rows as the text of a CSV file, ordered by type, function code and address; null is an empty cell.

    Columns after the twelfth are left out if no row uses them.
    """
    rows = sorted(rows, key=place_of)
    used = [
        place
        for place, column in enumerate(REGISTER_COLUMNS)
        if column in OFTEN_USED or any(row[place] != DEFAULTS.get(column) for row in rows)
    ]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([REGISTER_COLUMNS[place] for place in used])
    # A row whose type begins with # is quoted, so that it is not read as a comment.
    quoting = csv.writer(out, lineterminator="\r\n", quoting=csv.QUOTE_ALL)
    for row in rows:
        cells = [_cell(REGISTER_COLUMNS[place], row[place]) for place in used]
        (quoting if str(row[0]).startswith("#") else writer).writerow(cells)
    return out.getvalue()


def _cell(column: str, value: Any) -> Any:
    if column not in OFTEN_USED and value == DEFAULTS.get(column):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    return " ".join(map(str, value)) if isinstance(value, tuple) else value
