"""Rejected points as a text file of JSON lines, which people can read, search and correct (pure).

    {"format": "EMM rejected points", "version": 2}
    {"reason": "InfluxDB at http://influxdb:8086 answered HTTP 400: field type conflict", "points": 1}
    {"time": "2026-03-01T12:00:00.000Z", "id": 1, "description": null, "measurement": "power", "unit": "W", "value": 4}

Each reason is written once, above its points. A poll has `"measurement": "emm_poll"`, and in place of `unit` and
`value` the fields `ok`, `latency_ms`, `requests`, `points`, `error` and `status`.
"""

from __future__ import annotations

import json
import math
from contextlib import suppress
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from emm_pipeline.naming import POLL_MEASUREMENT, label_issue, measurement_issue
from emm_pipeline.stores.outbox.file import DamagedFileError
from emm_pipeline.stores.points import PointBatch, Polls, Readings
from emm_pipeline.stores.texts import MAX_ERROR, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from emm_pipeline.stores.base import RejectedPoints

VERSION = 2

_HEADER = {"format": "EMM rejected points", "version": VERSION}


def pack(rejected: Sequence[RejectedPoints]) -> bytes:
    """Return a file's content."""
    lines: list[Mapping[str, Any]] = [_HEADER]
    for reason, group in groupby(sorted(rejected, key=attrgetter("reason")), key=attrgetter("reason")):
        points = [record for each in group for record in records(each.points)]
        lines += [{"reason": reason, "points": len(points)}, *points]
    return "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines).encode()


def records(points: PointBatch) -> Iterator[dict[str, Any]]:
    """Yield each point as a dictionary for JSON."""
    for row in points.readings.rows():
        yield row | {"time": _iso(row["time"])}
    for row in points.polls.rows():
        latency_ms = row["latency_ms"] if math.isfinite(row["latency_ms"]) else None
        tags = {"time": _iso(row["time"]), "id": row["id"], "description": row["description"]}
        yield tags | {"measurement": POLL_MEASUREMENT} | row | tags | {"latency_ms": latency_ms}


def read(path: Path) -> PointBatch:
    """Return the points of a file.

    Raises:
        DamagedFileError: a line is invalid; the message gives its number and the reason.
        OSError: the file cannot be read.
    """
    readings: list[dict[str, Any]] = []
    polls: list[dict[str, Any]] = []
    for number, line in _lines(path):
        if "reason" in line:
            continue
        try:
            if line.get("measurement") == POLL_MEASUREMENT:
                polls.append(_point(line, Polls.names()))
            else:
                readings.append(_point(line, Readings.names()))
        except ValueError as err:
            raise DamagedFileError(f"{path.name}, line {number}: {err}") from err
    return PointBatch.of(readings, polls)


def describe(path: Path) -> tuple[int, str]:
    """Return the number of points in a file, and the reasons for the rejection in one line.

    Raises:
        DamagedFileError: a line is not JSON.
        OSError: the file cannot be read.
    """
    reasons, points = [], 0
    for _, line in _lines(path):
        if "reason" in line:
            reasons.append(str(line["reason"]))
        else:
            points += 1
    return points, "; ".join(reasons)


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the lines after the header with their numbers. Empty lines are skipped, since people edit such files."""
    numbered = ((number, line) for number, line in enumerate(path.read_bytes().split(b"\n"), 1) if line.strip())
    objects = ((number, _object(line, f"{path.name}, line {number}")) for number, line in numbered)
    if next(objects, None) != (1, _HEADER):
        raise DamagedFileError(f"{path.name} is not a file of rejected points of version {VERSION}")
    yield from objects


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        content = json.loads(line)
    except ValueError as err:
        raise DamagedFileError(f"{where}: is not JSON ({err})") from err
    if not isinstance(content, dict):
        raise DamagedFileError(f"{where}: is not a JSON object")
    return content


def _point(line: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Check and convert the cells of a point, since people edit such files.

    Raises:
        ValueError: a cell cannot be stored; the message names it and gives the reason.
    """
    row = {}
    for name in names:
        try:
            row[name] = _CELLS[name](line.get(name))
        except ValueError as err:
            raise ValueError(f"{name} {err}") from err
    return row


def _iso(time_ms: int) -> str:
    return f"{np.datetime64(time_ms, 'ms')}Z"


def _time(cell: object) -> int:
    if isinstance(cell, str) and cell[:1] in "-0123456789" and cell.endswith("Z"):
        try:
            return int(np.datetime64(cell[:-1], "ms").astype(np.int64))
        except ValueError:
            pass
    raise ValueError("is not a time such as 2026-03-01T12:00:00.000Z")


def _integer(cell: object) -> int:
    if isinstance(cell, int) and not isinstance(cell, bool) and -(2**63) <= cell < 2**63:
        return cell
    raise ValueError("is not an integer")


def _number(cell: object) -> float:
    if isinstance(cell, (int, float)) and not isinstance(cell, bool):
        with suppress(OverflowError):
            if math.isfinite(cell):
                return float(cell)
    raise ValueError("is not a finite number")


def _boolean(cell: object) -> bool:
    if isinstance(cell, bool):
        return cell
    raise ValueError("is neither true nor false")


def _text(cell: object) -> str:
    if not isinstance(cell, str):
        raise ValueError("is not a text")  # noqa: TRY004 - a cell's value is wrong, whatever its type
    return cell


def _label(cell: object) -> str:
    if issue := label_issue(_text(cell)):
        raise ValueError(issue)
    return _text(cell)


def _measurement(cell: object) -> str:
    if issue := measurement_issue(_text(cell)):
        raise ValueError(issue)
    return _text(cell)


def _optional(check: Callable[[object], Any]) -> Callable[[object], Any]:
    return lambda cell: None if cell is None else check(cell)


_CELLS: dict[str, Callable[[object], Any]] = {
    "time": _time,
    "id": _integer,
    "description": _optional(_label),
    "measurement": _measurement,
    "unit": _optional(_label),
    "value": _number,
    "ok": _boolean,
    "latency_ms": _optional(_number),
    "requests": _integer,
    "points": _integer,
    "error": _optional(lambda cell: one_line(_text(cell), MAX_ERROR)),
    "status": _optional(_label),
}
"""The function that checks and converts the cells of each column."""
