"""Readings and polls as points, and points as InfluxDB's line protocol. Pure.

Line protocol has no escape for some texts: a backslash escapes only a comma, a space or an equals sign, and stands for
itself elsewhere. Such a text is refused, since the server would read something else, or take the next line for a part
of this one. influxdb_client's `Point` would store an altered text, and costs seven times as much per point (13 µs).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from emm_pipeline.readings import PollRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd

    from emm_pipeline.readings import MeterSample

POLL_MEASUREMENT = "emm_poll"
MAX_SERIES_BYTES = 65_500
"""InfluxDB refuses a measurement with its tags and field name of more than 65 535 bytes."""
MAX_ERROR = 2000
"""Characters of a poll's error that are kept; InfluxDB's limit is 64 kB."""

_MAX_LISTED = 5
_EPOCH = datetime.fromtimestamp(0, UTC)
_MILLISECOND = timedelta(milliseconds=1)
_TAG_ESCAPES = str.maketrans({",": r"\,", "=": r"\=", " ": r"\ "})
_MEASUREMENT_ESCAPES = str.maketrans({",": r"\,", " ": r"\ "})
_MISREAD_BACKSLASH = re.compile(r"\\(=|\Z)")
"""What the server takes for an escape, in a tag, and then ends the tag or the line elsewhere."""
_STRING_ESCAPES = str.maketrans({'"': r"\"", "\\": r"\\"})


class UnstorableTextError(ValueError):
    """A text that a store cannot hold as it is; says which and why."""

    def __init__(self, column: str, text: str, reason: str) -> None:
        super().__init__(f"the {column} {_shortened(text)} {reason}")


@dataclass(frozen=True, slots=True)
class Lines:
    """Line protocol, one point per line, and for each point that is left out its meter and the reason."""

    lines: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def text_or_none(value: object) -> str | None:
    """A cell of a text column; None, NaN and the empty string all mean that there is no text."""
    return value if isinstance(value, str) and value else None


def one_line(text: object, limit: int = 300) -> str:
    """A message of someone else's, fit for one of ours."""
    line = " ".join(str(text).encode(errors="replace").decode().split())
    return line if len(line) <= limit else line[:limit] + " …"


def is_unicode(text: str) -> bool:
    """False for a text with lone surrogates, which UTF-8 cannot carry."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def milliseconds(times: pd.Series) -> list[int]:
    """A datetime64 column in milliseconds since 1970; an empty one may be of any type."""
    if times.empty:
        return []
    whole: list[int] = times.dt.as_unit("ms").astype("int64").tolist()
    return whole


def since_epoch(time: datetime) -> int:
    """An aware time in milliseconds since 1970."""
    return (time - _EPOCH) // _MILLISECOND


def listed(reasons: Iterable[str]) -> str:
    """Reasons in one line, each once, the first few in full."""
    different = list(dict.fromkeys(reasons))
    more = len(different) - _MAX_LISTED
    return "; ".join(different[:_MAX_LISTED]) + (f"; and {more} more" if more > 0 else "")


def poll_records(samples: Sequence[MeterSample], readings: pd.DataFrame) -> list[PollRecord]:
    """How reading each meter went; `points` counts the rows of that meter and time in `readings`."""
    points = Counter(zip(readings["id"].tolist(), milliseconds(readings["time"]), strict=True))
    return [
        PollRecord(
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
    result: list[str] = []
    refused: list[str] = []
    columns = (readings[name].tolist() for name in ("id", "measurement", "unit", "description", "value"))
    for meter_id, measurement, unit, description, value, time in zip(
        *columns, milliseconds(readings["time"]), strict=True
    ):
        if not math.isfinite(value):
            continue
        try:
            series = _series(measurement, _tag("dataunit", unit), _tag("description", description), meter_id)
        except UnstorableTextError as error:
            refused.append(f"meter {meter_id}: {error}")
        else:
            result.append(f"{series} value={value!r} {time}")
    return Lines(result, refused)


def poll_lines(polls: Iterable[PollRecord]) -> Lines:
    """One line of `emm_poll` per poll; `ok` is 1 or 0, so that its mean is the rate of success."""
    result: list[str] = []
    refused: list[str] = []
    for poll in polls:
        fields = [f"ok={int(poll.ok)}i", f"requests={poll.requests}i", f"points={poll.points}i"]
        if math.isfinite(poll.latency_ms):
            fields.append(f"latency_ms={float(poll.latency_ms)!r}")
        if poll.error:
            fields.append(f'error="{one_line(poll.error, MAX_ERROR).translate(_STRING_ESCAPES)}"')
        try:
            series = _series(POLL_MEASUREMENT, "", _tag("description", poll.description), poll.id)
        except UnstorableTextError as error:
            refused.append(f"meter {poll.id}: {error}")
        else:
            result.append(f"{series} {','.join(fields)} {since_epoch(poll.time)}")
    return Lines(result, refused)


def _series(measurement: str, unit_tag: str, description_tag: str, meter_id: int) -> str:
    """A measurement with its tags, in the order in which InfluxDB sorts them."""
    series = f"{_measurement(measurement)}{unit_tag}{description_tag},id={meter_id}"
    if len(series) * 4 > MAX_SERIES_BYTES and len(series.encode()) > MAX_SERIES_BYTES:
        raise UnstorableTextError("series", series, f"is longer than InfluxDB's {MAX_SERIES_BYTES} bytes")
    return series


@lru_cache(maxsize=10_000)
def _measurement(name: str | None) -> str:
    text = text_or_none(name)
    if text is None:
        raise UnstorableTextError("measurement", "", "is empty")
    _check("measurement", text)
    # InfluxDB 1.6 stores points under such names that no query finds
    if "\\" in text:
        raise UnstorableTextError("measurement", text, "has a backslash, with which InfluxDB may not find it again")
    # a line may be indented, and may be a comment
    if text[0] in "\t#":
        raise UnstorableTextError("measurement", text, "begins with a tab or #, which InfluxDB would skip")
    return text.translate(_MEASUREMENT_ESCAPES)


@lru_cache(maxsize=100_000)
def _tag(key: str, value: str | None) -> str:
    """`,key=value`, or nothing where there is no value."""
    text = text_or_none(value)
    if text is None:
        return ""
    _check(key, text)
    return f",{key}={text.translate(_TAG_ESCAPES)}"


def _check(column: str, text: str) -> None:
    if "\n" in text or "\0" in text:
        raise UnstorableTextError(column, text, "holds a line break or NUL, which InfluxDB cannot store")
    if found := _MISREAD_BACKSLASH.search(text):
        where = f"before {found[1]}" if found[1] else "at its end"
        raise UnstorableTextError(column, text, f"has a backslash {where}, which InfluxDB cannot store")
    if not is_unicode(text):
        raise UnstorableTextError(column, text, "is not valid Unicode")


def _shortened(text: str, limit: int = 60) -> str:
    return repr(text if len(text) <= limit else text[:limit] + "…")
