"""Readings and polls as points, and points as InfluxDB's line protocol. Pure.

Points travel in this form: it is what InfluxDB takes, what the outbox keeps, and what `line_protocol` reads back for
PostgreSQL. influxdb_client's `Point` would alter some texts, and costs seven times as much per point (13 µs).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from math import isfinite
from typing import TYPE_CHECKING

from emm_pipeline.naming import POLL_MEASUREMENT, label_issue, measurement_issue
from emm_pipeline.readings import PollPoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import pandas as pd

    from emm_pipeline.readings import MeterReading

MAX_ERROR = 2000
"""Characters of a poll's error that are kept; InfluxDB's limit is 64 kB."""

_MAX_LISTED = 5
_EPOCH = datetime.fromtimestamp(0, UTC)
_MILLISECOND = timedelta(milliseconds=1)
_TAG_ESCAPES = str.maketrans({",": r"\,", "=": r"\=", " ": r"\ "})
_MEASUREMENT_ESCAPES = str.maketrans({",": r"\,", " ": r"\ "})
_STRING_ESCAPES = str.maketrans({'"': r"\"", "\\": r"\\"})


class UnstorableTextError(ValueError):
    """A text that no store can hold as it is; says which and why."""

    def __init__(self, column: str, text: str, fault: str) -> None:
        super().__init__(f"the {column} {_shortened(text)} {fault}")


@dataclass(frozen=True, slots=True)
class Lines:
    """Line protocol, one point per line; and by meter id why a point of it is left out."""

    lines: list[str] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)

    def __add__(self, other: Lines) -> Lines:
        return Lines(self.lines + other.lines, self.refused | other.refused)


def text_or_none(value: object) -> str | None:
    """A cell of a text column; None, NaN and the empty string all mean that there is no text."""
    return value if isinstance(value, str) and value else None


def one_line(text: object, limit: int = 300) -> str:
    """A message of someone else's, fit for one of ours."""
    line = " ".join(str(text).encode(errors="replace").decode().replace("\0", " ").split())
    return line if len(line) <= limit else line[:limit] + " …"


def milliseconds(times: pd.Series) -> list[int]:
    """A datetime64 column in milliseconds since 1970; an empty one may be of any type."""
    if times.empty:
        return []
    whole: list[int] = times.dt.as_unit("ms").astype("int64").tolist()
    return whole


def since_epoch(time: datetime) -> int:
    """An aware time in milliseconds since 1970."""
    return (time - _EPOCH) // _MILLISECOND


def number_of(count: int, what: str) -> str:
    """A count with its noun, as `1 point` and `2 points`."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def listed(reasons: Iterable[str]) -> str:
    """Reasons in one line, each once, the first few in full."""
    different = list(dict.fromkeys(reasons))
    more = len(different) - _MAX_LISTED
    return "; ".join(different[:_MAX_LISTED]) + (f"; and {more} more" if more > 0 else "")


def poll_points(samples: Sequence[MeterReading], readings: pd.DataFrame) -> list[PollPoint]:
    """How reading each meter went; `points` counts the rows of that meter and time in `readings`."""
    points = Counter(zip(readings["id"].tolist(), milliseconds(readings["time"]), strict=True))
    return [
        PollPoint(
            time=sample.time,
            id=sample.meter.id,
            description=sample.meter.description,
            ok=sample.failure is None,
            latency_ms=sample.latency_ms,
            requests=sample.requests,
            points=points[sample.meter.id, since_epoch(sample.time)],
            error=sample.failure.reason if sample.failure else None,
        )
        for sample in samples
    ]


def reading_lines(readings: pd.DataFrame) -> Lines:
    """One line per finite value: tags id, description and dataunit, the field `value`, milliseconds."""
    refused: dict[int, str] = {}
    names, measurements = _parts(readings["measurement"], _measurement)
    units, dataunits = _parts(readings["unit"], partial(_tag, "dataunit"))
    texts, descriptions = _parts(readings["description"], partial(_tag, "description"))
    columns = (readings["id"].tolist(), names, units, texts, readings["value"].tolist(), milliseconds(readings["time"]))
    if not any(isinstance(part, UnstorableTextError) for part in (*measurements, *dataunits, *descriptions)):
        # tags in the order in which InfluxDB sorts them
        return Lines(
            [
                f"{measurements[n]}{dataunits[u]}{descriptions[d]},id={meter_id} value={value!r} {time}"
                for meter_id, n, u, d, value, time in zip(*columns, strict=True)
                if isfinite(value)
            ]
        )
    result: list[str] = []
    for meter_id, n, u, d, value, time in zip(*columns, strict=True):
        parts = (measurements[n], dataunits[u], descriptions[d])
        if not isfinite(value):
            continue
        if fault := next((part for part in parts if isinstance(part, UnstorableTextError)), None):
            refused[meter_id] = str(fault)
        else:
            result.append(f"{''.join(map(str, parts))},id={meter_id} value={value!r} {time}")
    return Lines(result, refused)


def _parts(texts: pd.Series, shape: Callable[[str | None], str]) -> tuple[list[int], list[str | UnstorableTextError]]:
    """Each text's code, and by code the part of a line that it becomes; the last is that of no text, code -1."""
    column = texts.astype("category")
    parts: list[str | UnstorableTextError] = []
    for text in (*column.cat.categories, None):
        try:
            parts.append(shape(text))
        except UnstorableTextError as error:
            parts.append(error)
    return column.cat.codes.tolist(), parts


def poll_lines(polls: Iterable[PollPoint]) -> Lines:
    """One line of `emm_poll` per poll; `ok` is 1 or 0, so that its mean is the rate of success."""
    result: list[str] = []
    refused: dict[int, str] = {}
    for poll in polls:
        fields = [f"ok={int(poll.ok)}i", f"requests={poll.requests}i", f"points={poll.points}i"]
        if isfinite(poll.latency_ms):
            fields.append(f"latency_ms={float(poll.latency_ms)!r}")
        if poll.error:
            fields.append(f'error="{one_line(poll.error, MAX_ERROR).translate(_STRING_ESCAPES)}"')
        try:
            series = f"{POLL_MEASUREMENT}{_tag('description', poll.description)},id={poll.id}"
        except UnstorableTextError as error:
            refused[poll.id] = str(error)
        else:
            result.append(f"{series} {','.join(fields)} {since_epoch(poll.time)}")
    return Lines(result, refused)


@lru_cache(maxsize=10_000)
def _measurement(name: str | None) -> str:
    text = text_or_none(name) or ""
    if fault := measurement_issue(text):
        raise UnstorableTextError("measurement", text, fault)
    return text.translate(_MEASUREMENT_ESCAPES)


@lru_cache(maxsize=100_000)
def _tag(key: str, value: str | None) -> str:
    """`,key=value`, or nothing where there is no value."""
    text = text_or_none(value)
    if text is None:
        return ""
    if fault := label_issue(text):
        raise UnstorableTextError(key, text, fault)
    return f",{key}={text.translate(_TAG_ESCAPES)}"


def _shortened(text: str, limit: int = 60) -> str:
    return repr(text if len(text) <= limit else text[:limit] + "…")
