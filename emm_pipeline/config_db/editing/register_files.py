"""Registers as a CSV file: SPEC's columns, in any order, those beyond the first eight optional (pure).

Lines that begin with # are comments, as in the catalogue's files. Comma, semicolon or tab separate the cells, whichever
the header has; an empty cell is null.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from emm_pipeline.config_db.editing.register_rows import (
    REGISTER_COLUMNS,
    RegisterRow,
    place_of,
    register_row,
    series_of,
)
from emm_pipeline.config_db.validation import check_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from emm_pipeline.config_db.editing.register_rows import Series, TypeRows

NEEDED_COLUMNS = REGISTER_COLUMNS[:8]
_SEPARATORS = ",;\t"


@dataclass(slots=True)
class RegisterFile:
    """What a file says: rows with the numbers of their lines, and what is wrong with it, a line each."""

    rows: list[tuple[int, RegisterRow]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def types(self) -> list[str]:
        """The names of the types in it."""
        return sorted({str(row[0]) for _, row in self.rows})


@dataclass(frozen=True, slots=True)
class Import:
    """What an import does to the table: rows that it adds and removes, and how many it leaves."""

    add: tuple[RegisterRow, ...]
    remove: tuple[RegisterRow, ...]
    unchanged: int


def read_register_file(content: bytes, type_rows: Iterable[Mapping[str, Any]] = ()) -> RegisterFile:
    """Parse and check a file, to its end.

    Args:
        content: The file's bytes; UTF-8, with or without a byte order mark.
        type_rows: The rows of `meter_types`, whose limits the registers have to keep.
    """
    file = RegisterFile()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        line = content.count(b"\n", 0, err.start) + 1
        file.faults.append(f"line {line}: is not UTF-8 (byte 0x{content[err.start]:02x}); save the file as UTF-8")
        return file
    lines = [
        (number, line.rstrip("\r"))
        for number, line in enumerate(text.split("\n"), 1)
        if line.strip() and not line.startswith("#")
    ]
    if not lines:
        file.faults.append(f"has no header; needed are the columns {', '.join(NEEDED_COLUMNS)}")
        return file
    separator = max(_SEPARATORS, key=lines[0][1].count)
    header = _header(*lines[0], separator, file.faults)
    if header:
        known_types = {str(row.get("type")): row for row in type_rows}
        for line_number, cells in lines[1:]:
            try:
                row = _split(cells, separator, header)
            except ValueError as err:
                file.faults.append(f"line {line_number}: {err}")
            else:
                _check_row(file, line_number, row, known_types.get(str(row["type"])))
        _find_repetitions(file)
    return file


def _header(number: int, line: str, separator: str, faults: list[str]) -> list[str]:
    """The columns' names; none where something is wrong with them."""
    try:
        names = [name.strip().lower() for name in next(csv.reader([line], delimiter=separator))]
    except csv.Error as err:
        faults.append(f"line {number}: {err}")
        return []
    unknown = [name for name in names if name not in REGISTER_COLUMNS]
    missing = [name for name in NEEDED_COLUMNS if name not in names]
    twice = sorted({name for name in names if names.count(name) > 1})
    if unknown:
        known = ", ".join(REGISTER_COLUMNS)
        faults.append(f"line {number}: unknown columns {', '.join(map(repr, unknown))}; allowed: {known}")
    if missing:
        faults.append(f"line {number}: the header lacks {', '.join(missing)}")
    if twice:
        faults.append(f"line {number}: the header has {', '.join(twice)} more than once")
    return [] if unknown or missing or twice else names


def _split(line: str, separator: str, header: Sequence[str]) -> dict[str, str | None]:
    """Column to cell. Raises ValueError for a line that has other cells than the header."""
    try:
        cells = next(csv.reader([line], delimiter=separator, strict=True))
    except csv.Error as err:
        raise ValueError(str(err)) from err
    if len(cells) != len(header):
        raise ValueError(f"has {len(cells)} cells, the header has {len(header)}")
    return {name: cell or None for name, cell in zip(header, cells, strict=True)}


def _check_row(
    file: RegisterFile, number: int, row: Mapping[str, str | None], settings: Mapping[str, Any] | None
) -> None:
    fleet = check_rows((), [row], [settings] if settings else [])
    faults = [issue for issue in fleet.issues if issue.table == "registers"]
    file.faults += [f"line {number}: {issue.column} {issue.reason}" for issue in faults]
    for type_name, meter_type in fleet.types.items():
        file.rows += [(number, register_row(type_name, register)) for register in meter_type.registers]


def _find_repetitions(file: RegisterFile) -> None:
    """Two registers of one type, name and unit would overwrite each other's points."""
    first: dict[Series, int] = {}
    for number, row in file.rows:
        before = first.setdefault(series_of(row), number)
        if before != number:
            file.faults.append(
                f"line {number}: measurement_name {row[2]!r} with data_unit {row[3]!r} of type {row[0]!r} is in line "
                f"{before} already"
            )


def plan_import(database: Mapping[str, TypeRows], rows: Iterable[RegisterRow], *, replace: bool) -> Import:
    """Return what changes where the rows come into a table: the same series are replaced, others added.

    Args:
        database: What is there, by type.
        rows: What comes, each series once.
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
    """Return rows as a file's text, by type, function code and address; null is an empty cell."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(REGISTER_COLUMNS)
    # Where a type's name begins like a comment, its row is quoted.
    quoting = csv.writer(out, lineterminator="\r\n", quoting=csv.QUOTE_ALL)
    for row in sorted(rows, key=place_of):
        (quoting if str(row[0]).startswith("#") else writer).writerow(row)
    return out.getvalue()
