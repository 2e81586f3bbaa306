"""Read outbox files of earlier versions of EMM: gzipped line protocol, and rejected points as text (pure).

    # EMM outbox 1; 2 points; run 5e0c…
    voltageL1,dataunit=V,description=mains,id=1 value=230.5 1772366400000
    emm_poll,description=mains,id=1 ok=1i,requests=2i,points=1i,latency_ms=12.5 1772366400000

The parser is strict: a line that does not have exactly this form is an error.
"""

from __future__ import annotations

import gzip
import math
import re
import zlib
from typing import TYPE_CHECKING, Any

from emm_pipeline.naming import POLL_MEASUREMENT
from emm_pipeline.stores.outbox.file import DamagedFileError
from emm_pipeline.stores.points import PointBatch

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_HEADER = re.compile(r"# EMM outbox (\d+); (\d+) points; run (.*)")

# A backslash escapes a following comma, equals sign or space; any other backslash is an ordinary character.
# The quantifiers are possessive (++, ?+): there is no backtracking, so a malicious line cannot slow the parser down.
_MEASUREMENT = r"(?P<measurement>(?:\\[, ]|[^, \\\0\n])++)"
_TEXT = r"(?:\\[,= ]?+|[^,= \\\0\n])++"
_TAGS = rf"(?:,dataunit=(?P<unit>{_TEXT}))?(?:,description=(?P<description>{_TEXT}))?,id=(?P<id>-?\d{{1,18}})"
_FLOAT = r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?"
_COUNTS = r"requests=(?P<requests>\d{1,18})i,points=(?P<points>\d{1,18})i"
_ERROR = r'error="(?P<error>(?:\\["\\]|[^"\\\0\n])*+)"'
_POLL = rf"ok=(?P<ok>[01])i,{_COUNTS}(?:,latency_ms=(?P<latency_ms>{_FLOAT}))?(?:,{_ERROR})?"
_LINE = re.compile(rf"{_MEASUREMENT}{_TAGS} (?:value=(?P<value>{_FLOAT})|{_POLL}) (?P<time>-?\d{{1,18}})", re.ASCII)

_ESCAPE = re.compile(r"\\([,= ])")
_STRING_ESCAPE = re.compile(r'\\(["\\])')


def unpack(content: bytes, name: str) -> PointBatch:
    """Return the points of a batch's file.

    Raises:
        DamagedFileError: the file is damaged, or of another format.
    """
    try:
        header, *lines = gzip.decompress(content).decode().removesuffix("\n").split("\n")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as err:
        raise DamagedFileError(f"{name} is damaged: {err}") from err
    count = _count(header, name)
    if count != len(lines):
        raise DamagedFileError(f"{name} is damaged: it holds {len(lines)} points of {count}")
    return parse_lines(lines, name)


def read_count(path: Path) -> int:
    """Return the number of points given in the first line of a batch's file; 0 if it is damaged."""
    try:
        with gzip.open(path) as file:
            return _count(file.readline(200).decode().removesuffix("\n"), path.name)
    except (OSError, EOFError, zlib.error, ValueError):
        return 0


def read_rejected(path: Path) -> PointBatch:
    """Return the points of a file of rejected points.

    Raises:
        DamagedFileError: the file cannot be read back.
        OSError: the file cannot be read.
    """
    return parse_lines(_rejected_lines(path)[0], path.name)


def describe(path: Path) -> tuple[int, str]:
    """Return the number of points in a file of rejected points, and the reasons for the rejection in one line.

    Raises:
        DamagedFileError: the file cannot be read back.
        OSError: the file cannot be read.
    """
    lines, reasons = _rejected_lines(path)
    return len(lines), reasons


def _rejected_lines(path: Path) -> tuple[list[str], str]:
    try:
        # Not read_text(), which would treat a carriage return in a description as the end of a line.
        lines = path.read_bytes().decode().removesuffix("\n").split("\n")
    except UnicodeDecodeError as err:
        raise DamagedFileError(f"{path.name} is damaged: {err}") from err
    reasons = [line.removeprefix("# ") for line in lines if line.startswith("#")]
    return [line for line in lines if not line.startswith("#")], "; ".join(reasons)


def _count(header: str, name: str) -> int:
    match = _HEADER.fullmatch(header)
    if not match:
        raise DamagedFileError(f"{name} is not a file of EMM's outbox: it begins with {header[:40]!r}")
    if match[1] != "1":
        raise DamagedFileError(f"{name} has the format {match[1]}, which this version of EMM cannot read")
    return int(match[2])


def parse_lines(lines: Iterable[str], name: str) -> PointBatch:
    """Parse lines to points.

    Raises:
        DamagedFileError: a line does not have the form that EMM wrote.
    """
    readings: list[dict[str, Any]] = []
    polls: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line)
        value = float(match["value"]) if match and match["value"] else 0.0
        if not match or not math.isfinite(value) or (match["measurement"] == POLL_MEASUREMENT) == bool(match["value"]):
            raise DamagedFileError(f"{name} is damaged: point {number} does not have the form that EMM writes")
        tags = {"time": int(match["time"]), "id": int(match["id"]), "description": _unescaped(match["description"])}
        if match["value"]:
            measurement, unit = _unescaped(match["measurement"]), _unescaped(match["unit"])
            readings.append(tags | {"measurement": measurement, "unit": unit, "value": value})
        else:
            polls.append(tags | _poll_fields(match))
    return PointBatch.of(readings, polls)


def _poll_fields(match: re.Match[str]) -> dict[str, Any]:
    return {
        "ok": match["ok"] == "1",
        "latency_ms": float(match["latency_ms"]) if match["latency_ms"] else None,
        "requests": int(match["requests"]),
        "points": int(match["points"]),
        "error": _STRING_ESCAPE.sub(r"\1", match["error"]) if match["error"] else None,
    }


def _unescaped(text: str | None) -> str | None:
    return None if text is None else _ESCAPE.sub(r"\1", text)
