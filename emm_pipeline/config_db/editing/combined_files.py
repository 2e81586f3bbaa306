"""Combined measurements as a CSV file: the columns of the table, a row for each part of a sum (pure)."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from emm_pipeline.config_db.csv_tables import CsvIssue, read_csv
from emm_pipeline.config_db.editing.register_rows import COMBINED_COLUMNS, combined_rows
from emm_pipeline.config_db.validation import check_rows

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from typing import Any

    from emm_pipeline.config_db.editing.register_rows import CombinedRow

_NEEDED = COMBINED_COLUMNS[:4]
_TEXTS = _NEEDED


def read_combined_file(
    content: bytes, register_rows: Sequence[Mapping[str, Any]]
) -> tuple[list[CombinedRow], list[CsvIssue]]:
    """Parse and check a complete file.

    Args:
        content: The file's bytes; UTF-8, with or without a byte order mark.
        register_rows: The rows of `registers`, whose measurements are the parts.

    Returns:
        The rows, and the issues of the file, with line numbers where possible.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        line = content.count(b"\n", 0, err.start) + 1
        return [], [CsvIssue(line, f"is not UTF-8 (byte 0x{content[err.start]:02x}); save the file as UTF-8")]
    table = read_csv(text, COMBINED_COLUMNS, _NEEDED, _TEXTS)
    rows = [row for _, row in table.rows]
    fleet = check_rows((), register_rows, (), rows)
    issues = table.issues + [
        CsvIssue(None, f"{issue.row}: {issue.column} {issue.reason}")
        for issue in fleet.issues
        if issue.table == "combined_measurements"
    ]
    if issues:
        return [], issues
    return sorted((row for each in fleet.types.values() for row in combined_rows(each)), key=str), []


def plan_combined_import(
    there: Iterable[CombinedRow], coming: Collection[CombinedRow]
) -> tuple[list[CombinedRow], list[CombinedRow]]:
    """Return the rows to remove and to add: each sum of the file replaces the one of its type, name and unit."""
    sums = {row[:3] for row in coming}
    there = set(there)
    remove = [row for row in there if row[:3] in sums and row not in coming]
    return sorted(remove, key=str), sorted((row for row in coming if row not in there), key=str)


def write_combined_file(rows: Iterable[CombinedRow]) -> str:
    """Return rows as a file's text; null is an empty cell."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COMBINED_COLUMNS)
    for row in sorted(rows, key=str):
        writer.writerow([str(value).lower() if isinstance(value, bool) else value for value in row])
    return out.getvalue()
