"""Reads back the line protocol that `points` writes, and nothing else. Pure.

Strict on purpose: a line that is not exactly of that form is refused, never guessed at.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from emm_pipeline.naming import POLL_MEASUREMENT

# A backslash before a comma, an equals sign or a space makes it a part of the text; any other stands for itself.
# The repetitions are possessive (++, ?+): a line has one reading, and a hostile one costs no time.
_MEASUREMENT = r"(?P<measurement>(?:\\[, ]|[^, \\\0\n])++)"
_TEXT = r"(?:\\[,= ]?+|[^,= \\\0\n])++"
_TAGS = rf"(?:,dataunit=(?P<unit>{_TEXT}))?(?:,description=(?P<description>{_TEXT}))?,id=(?P<id>-?\d{{1,19}})"
_FLOAT = r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?"
_COUNTS = r"requests=(?P<requests>\d{1,18})i,points=(?P<points>\d{1,18})i"
_ERROR = r'error="(?P<error>(?:\\["\\]|[^"\\\0\n])++)"'
_POLL = rf"ok=(?P<ok>[01])i,{_COUNTS}(?:,latency_ms=(?P<latency_ms>{_FLOAT}))?(?:,{_ERROR})?"
_LINE = re.compile(rf"{_MEASUREMENT}{_TAGS} (?:value=(?P<value>{_FLOAT})|{_POLL}) (?P<time>-?\d{{1,19}})", re.ASCII)

_ESCAPE = re.compile(r"\\([,= ])")
_STRING_ESCAPE = re.compile(r'\\(["\\])')
_METER = re.compile(r",id=(-?\d+) ", re.ASCII)


class ParsedReading(NamedTuple):
    """A point of a measurement; `time` in milliseconds since 1970."""

    time: int
    id: int
    description: str | None
    measurement: str
    unit: str | None
    value: float


class ParsedPoll(NamedTuple):
    """A point of `emm_poll`; `time` in milliseconds since 1970."""

    time: int
    id: int
    description: str | None
    ok: bool
    latency_ms: float | None
    requests: int
    points: int
    error: str | None


def parse_line(line: str) -> ParsedReading | ParsedPoll:
    """Return the point that a line holds.

    Raises:
        ValueError: the line is not of the form that `points` writes.
    """
    match = _LINE.fullmatch(line)
    if not match or (match["measurement"] == POLL_MEASUREMENT) != (match["value"] is None):
        raise ValueError("is not line protocol of the form that EMM writes")
    time, meter_id, description = int(match["time"]), int(match["id"]), _unescaped(match["description"])
    if match["value"] is not None:
        value = float(match["value"])
        if not math.isfinite(value):
            raise ValueError("has a value that is beyond a float")
        measurement = _ESCAPE.sub(r"\1", match["measurement"])
        return ParsedReading(time, meter_id, description, measurement, _unescaped(match["unit"]), value)
    return ParsedPoll(
        time,
        meter_id,
        description,
        ok=match["ok"] == "1",
        latency_ms=None if match["latency_ms"] is None else float(match["latency_ms"]),
        requests=int(match["requests"]),
        points=int(match["points"]),
        error=None if match["error"] is None else _STRING_ESCAPE.sub(r"\1", match["error"]),
    )


def meter_of(line: str) -> int | None:
    """Return the meter's id in a line; None where there is none. No other part of a line can look like this tag."""
    match = _METER.search(line)
    return int(match[1]) if match else None


def _unescaped(text: str | None) -> str | None:
    return None if text is None else _ESCAPE.sub(r"\1", text)
