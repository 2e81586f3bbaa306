"""Convert a DataFrame of readings, and the polls, to a batch of points that every store can hold (pure)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from emm_pipeline.naming import label_issue, measurement_issue
from emm_pipeline.readings import PollPoint
from emm_pipeline.stores.points import PointBatch, Polls, Readings, TextColumn
from emm_pipeline.stores.texts import MAX_ERROR, one_line, text_or_none

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from emm_pipeline.readings import MeterReading

_MAX_SHOWN = 60
"""Maximum number of characters of a text in a message."""
_EPOCH = datetime.fromtimestamp(0, UTC)
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class ShapedPoints:
    """Points, and by meter id the reason why some of its points are omitted: a text that no store can hold."""

    points: PointBatch
    unstorable: Mapping[int, str] = field(default_factory=dict)


def since_epoch(time: datetime) -> int:
    """Convert an aware time to milliseconds since 1970."""
    return (time - _EPOCH) // _MILLISECOND


def poll_points(
    samples: Sequence[MeterReading], readings: pd.DataFrame, statuses: Mapping[int, str] | None = None
) -> list[PollPoint]:
    """How reading each meter went; `points` counts the rows of that meter and time in `readings`.

    `statuses` is by meter id the status; None where it is not known.
    """
    statuses = statuses or {}
    points = _points_of_each(readings)
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
            status=statuses.get(sample.meter.id),
            silent=sample.is_silent,
        )
        for sample in samples
    ]


def _points_of_each(readings: pd.DataFrame) -> Counter[tuple[int, int]]:
    """Return the number of rows of each meter's id and time (milliseconds since 1970)."""
    points: Counter[tuple[int, int]] = Counter()
    ids, times = readings["id"].to_numpy(np.int64), _times(readings["time"])
    if not len(ids):
        return points
    # The rows of a meter follow each other.
    starts = np.flatnonzero(np.append(True, (ids[1:] != ids[:-1]) | (times[1:] != times[:-1])))
    counts = np.diff(starts, append=len(ids))
    for id_, time, count in zip(ids[starts].tolist(), times[starts].tolist(), counts.tolist(), strict=True):
        points[id_, time] += count
    return points


def shape_points(readings: pd.DataFrame, polls: Sequence[PollPoint]) -> ShapedPoints:
    """Create one batch of readings and polls.

    Values that are not finite, and points with a text that no store can hold, are omitted.

    Args:
        readings: a DataFrame with the columns `readings.READING_COLUMNS`.
        polls: the result of reading each meter.
    """
    shaped, unstorable = _readings(readings)
    shaped_polls, unstorable_polls = _polls(polls)
    return ShapedPoints(PointBatch(shaped, shaped_polls), unstorable | unstorable_polls)


class _Checked(NamedTuple):
    """A text column, and for each code (-1: no text) the reason why no store can hold the text."""

    column: TextColumn
    issues: Mapping[int, str]

    def unstorable(self) -> NDArray[np.bool_]:
        """Return which rows have a text that no store can hold."""
        return np.isin(self.column.codes, list(self.issues))


def _readings(frame: pd.DataFrame) -> tuple[Readings, dict[int, str]]:
    checked = [
        _checked(_text_column(frame["measurement"]), _measurement_issue, required=True),
        _checked(_text_column(frame["unit"]), _unit_issue),
        _checked(_text_column(frame["description"]), _description_issue),
    ]
    measurement, unit, description = (each.column for each in checked)
    value = frame["value"].to_numpy(np.float64)
    shaped = Readings(_times(frame["time"]), frame["id"].to_numpy(np.int64), description, measurement, unit, value)
    stored = np.isfinite(value)
    reasons: dict[int, str] = {}
    for each in checked:
        if each.issues:
            unstorable = each.unstorable() & stored
            ids, codes = shaped.id[unstorable].tolist(), each.column.codes[unstorable].tolist()
            for meter_id, code in zip(ids, codes, strict=True):
                reasons.setdefault(meter_id, each.issues[code])
            stored &= ~unstorable
    return shaped if stored.all() else shaped[stored], reasons


def _polls(polls: Sequence[PollPoint]) -> tuple[Polls, dict[int, str]]:
    issues = {poll.id: issue for poll in polls if (issue := _description_issue(text_or_none(poll.description) or ""))}
    rows = [
        {
            "time": since_epoch(poll.time),
            "id": poll.id,
            "description": poll.description,
            "ok": poll.ok,
            "latency_ms": poll.latency_ms if isfinite(poll.latency_ms) else None,
            "requests": poll.requests,
            "points": poll.points,
            "error": one_line(poll.error, MAX_ERROR) if poll.error else None,
            "status": poll.status,
        }
        for poll in polls
        if poll.id not in issues
    ]
    return Polls.of(rows), issues


def _times(times: pd.Series) -> NDArray[np.int64]:
    return times.to_numpy("datetime64[ms]").astype(np.int64)


def _text_column(texts: pd.Series) -> TextColumn:
    if not hasattr(texts, "cat"):
        # Not astype("category"): with pyarrow installed, pandas refuses a column with one text that is not UTF-8.
        return TextColumn.of(texts.tolist())
    categories: list[Any] = texts.cat.categories.tolist()
    codes = texts.cat.codes.to_numpy()
    if all(isinstance(text, str) and text for text in categories):
        return TextColumn(codes, tuple(categories))
    distinct = TextColumn.of([*categories, None])  # the code -1 selects the last
    return TextColumn(distinct.codes[codes], distinct.distinct)


def _checked(column: TextColumn, issue_of: Callable[[str], str | None], *, required: bool = False) -> _Checked:
    issues = {code: issue for code, text in enumerate(column.distinct) if (issue := issue_of(text))}
    if required and (issue := issue_of("")):
        issues[-1] = issue
    return _Checked(column, issues)


@lru_cache(maxsize=10_000)
def _measurement_issue(text: str) -> str | None:
    return _named("measurement", text, measurement_issue(text))


@lru_cache(maxsize=10_000)
def _unit_issue(text: str) -> str | None:
    return _named("dataunit", text, label_issue(text))


@lru_cache(maxsize=100_000)
def _description_issue(text: str) -> str | None:
    return _named("description", text, label_issue(text))


def _named(column: str, text: str, issue: str | None) -> str | None:
    """Return the reason why a text cannot be stored, in one line that names its column."""
    shown = text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…"
    return f"the {column} {shown!r} {issue}" if issue else None
