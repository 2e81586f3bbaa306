"""Read and write lists of meters as CSV or YAML files (pure).

A CSV file has a header with the columns; a YAML file is a list of meters, each a mapping from column to value. The host
may include the port, `192.168.1.113:502`, and may be the path of a serial line.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from emm_pipeline.config_db.csv_tables import CsvIssue, is_content, read_csv

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

COLUMNS = (
    *("host", "port", "unit", "type", "description", "id", "enabled"),
    *("transport", "serial_settings", "factor", "may_be_off", "max_power_w", "tariff"),
)
"""The columns of a file, in the order in which they are written. `unit` is the table's `slave_address`."""

NEEDED = ("host", "unit", "type")
_TEXTS = ("host", "type", "description", "transport", "serial_settings", "tariff")
_OFTEN_USED = ("host", "port", "unit", "type", "description")
_UNIT_NAMES = ("slave_address", "unit_id")
"""Other names of the column `unit`."""

ENDINGS = {".csv": "csv", ".yaml": "yaml", ".yml": "yaml"}
_NULLS = frozenset({"", "~", "null"})


@dataclass(slots=True)
class MeterFile:
    """The content of a file: rows with their line numbers, and the issues. Values are texts, or None."""

    rows: list[tuple[int, dict[str, str | None]]] = field(default_factory=list)
    issues: list[CsvIssue] = field(default_factory=list)


def format_of(name: str) -> str | None:
    """Return `csv` or `yaml` by the ending of a file's name; None for another ending."""
    return next((found for ending, found in ENDINGS.items() if name.lower().endswith(ending)), None)


def read_meter_file(content: bytes, file_format: str) -> MeterFile:
    """Parse a whole file, and collect all its issues.

    Args:
        content: The file's bytes; UTF-8, with or without a byte order mark.
        file_format: `csv` or `yaml`.
    """
    file = MeterFile()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        reason = f"is not UTF-8 (byte 0x{content[err.start]:02x}); save the file as UTF-8"
        file.issues.append(CsvIssue(content.count(b"\n", 0, err.start) + 1, reason))
        return file
    if file_format == "yaml":
        _read_yaml(text, file)
    else:
        names = (*COLUMNS, *_UNIT_NAMES)
        table = read_csv(_with_unit(text), names, NEEDED, _TEXTS)
        file.issues += table.issues
        file.rows += table.rows
    if not file.rows and not file.issues:
        file.issues.append(CsvIssue(None, "has no meters"))
    return file


def _with_unit(text: str) -> str:
    """Return the text with the usual name of the column `unit` in its header."""
    lines = text.split("\n")
    for place, line in enumerate(lines):
        if is_content(line):
            lines[place] = re.sub("|".join(_UNIT_NAMES), "unit", line, flags=re.IGNORECASE)
            break
    return "\n".join(lines)


def _read_yaml(text: str, file: MeterFile) -> None:
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as err:
        line = err.problem_mark.line + 1 if err.problem_mark else None
        file.issues.append(CsvIssue(line, f"is not YAML: {err.problem or err.context}"))
        return
    except (yaml.YAMLError, RecursionError) as err:
        file.issues.append(CsvIssue(None, f"is not YAML: {' '.join(str(err).split())}"))
        return
    if isinstance(root, yaml.MappingNode):
        named = {key.value: value for key, value in root.value if isinstance(key, yaml.ScalarNode)}
        root = named.get("meters")
    if root is None or not isinstance(root, yaml.SequenceNode):
        file.issues.append(CsvIssue(None, "is not a list of meters; each begins with - and has host, unit and type"))
        return
    for node in root.value:
        line = node.start_mark.line + 1
        row: dict[str, str | None] = {}
        issues = [CsvIssue(*each) for each in _yaml_cells(node, row)]
        file.issues += issues
        if not issues:
            file.rows.append((line, row))


def _yaml_cells(node: yaml.Node, row: dict[str, str | None]) -> Iterator[tuple[int, str]]:
    """Read the cells of a meter into `row`; yield the line and the reason of each that is wrong."""
    line = node.start_mark.line + 1
    if not isinstance(node, yaml.MappingNode):
        yield line, "is not a meter: write host, unit and type, each with a colon"
        return
    for key, value in node.value:
        at = key.start_mark.line + 1
        name = str(key.value).lower() if isinstance(key, yaml.ScalarNode) else "?"
        name = "unit" if name in _UNIT_NAMES else name
        if name not in COLUMNS:
            yield at, f"unknown key {name!r}; allowed: {', '.join(COLUMNS)}"
        elif name in row:
            yield at, f"{name} appears a second time"
        elif not isinstance(value, yaml.ScalarNode):
            yield at, f"{name} is not a single value"
        else:
            is_null = value.style is None and value.value.lower() in _NULLS
            row[name] = None if is_null else value.value
    if missing := [name for name in NEEDED if name not in row]:
        yield line, f"the meter lacks {', '.join(missing)}"


def write_meter_file(rows: Iterable[Mapping[str, Any]], file_format: str, remarks: Sequence[str] = ()) -> str:
    """Return meters as the text of a file; columns that no meter uses are left out.

    Args:
        rows: Values by column; None and left-out columns are empty.
        file_format: `csv` or `yaml`.
        remarks: Lines of a comment at the beginning.
    """
    rows = list(rows)
    used = [name for name in COLUMNS if name in _OFTEN_USED or any(row.get(name) is not None for row in rows)]
    head = "".join(f"# {' '.join(line.split())}\n" for line in remarks)
    if file_format == "yaml":
        listed = [{name: row[name] for name in used if row.get(name) is not None} for row in rows]
        return head + yaml.safe_dump(listed, sort_keys=False, allow_unicode=True)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(used)
    for row in rows:
        writer.writerow([_cell(row.get(name)) for name in used])
    return head.replace("\n", "\r\n") + out.getvalue()


def listed(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of `energy_meters` as a line of a list: without the columns that have their defaults."""
    shown = {
        "host": row.get("host"),
        "port": row.get("port"),
        "unit": row.get("slave_address"),
        "type": row.get("type"),
        "description": row.get("description"),
        "id": row.get("id"),
    }
    usual = {"enabled": True, "transport": "tcp", "serial_settings": None, "factor": 1, "may_be_off": False}
    usual |= {"max_power_w": None, "tariff": None}
    return shown | {name: row[name] for name, value in usual.items() if row.get(name) not in {None, value}}


def _cell(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value
