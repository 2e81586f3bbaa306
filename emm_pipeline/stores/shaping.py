"""Convert a DataFrame of readings, and the polls, to a batch of points that every store can hold (pure)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from emm_pipeline.naming import label_issue, measurement_issue
from emm_pipeline.stores.points import PointBatch, Polls, Readings, TextColumn
from emm_pipeline.stores.poll_points import PollPoints, since_epoch
from emm_pipeline.stores.texts import MAX_ERROR, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from emm_pipeline.readings import MeterReading, PollPoint

_MAX_SHOWN = 60
"""Maximum number of characters of a text in a message."""


@dataclass(frozen=True, slots=True)
class ShapedPoints:
    """Points, and by meter id the reason why some of its points are omitted: a text that no store can hold."""

    points: PointBatch
    unstorable: Mapping[int, str] = field(default_factory=dict)


def poll_points(
    samples: Sequence[MeterReading], readings: pd.DataFrame, statuses: Mapping[int, str] | None = None
) -> PollPoints:
    """How reading each meter went; `points` counts the rows of that meter and time in `readings`.

    `statuses` is by meter id the status; None where it is not known.
    """
    statuses = statuses or {}
    counts = _points_of_each(readings)
    ids, times = [each.meter.id for each in samples], [since_epoch(each.time) for each in samples]
    failures = [each.failure for each in samples]
    polls = Polls(
        np.array(times, np.int64),
        np.array(ids, np.int64),
        TextColumn.of([each.meter.description for each in samples]),
        np.array([failure is None for failure in failures], np.bool_),
        np.array([each.latency_ms for each in samples], np.float64),
        np.array([each.requests for each in samples], np.int64),
        np.array([counts[key] for key in zip(ids, times, strict=True)], np.int64),
        TextColumn.of([failure and failure.reason for failure in failures]),
        TextColumn.of([statuses.get(id_) for id_ in ids]),
    )
    silent = [bool(failure) and each.is_silent for failure, each in zip(failures, samples, strict=True)]
    return PollPoints(polls, np.array(silent, np.bool_))


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
    shaped_polls, unstorable_polls = _polls(PollPoints.of(polls))
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


def _polls(points: PollPoints) -> tuple[Polls, dict[int, str]]:
    polls = points.polls
    checked = _checked(polls.description, _description_issue)
    latency_ms = np.where(np.isfinite(polls.latency_ms), polls.latency_ms, np.nan)
    shown = TextColumn.of([*(one_line(error, MAX_ERROR) for error in polls.error.distinct), None])
    error = TextColumn(shown.codes[polls.error.codes], shown.distinct)  # the code -1 selects the last
    polls = replace(polls, latency_ms=latency_ms, error=error)
    if not checked.issues:
        return polls, {}
    unstorable = checked.unstorable()
    ids, codes = polls.id[unstorable].tolist(), polls.description.codes[unstorable].tolist()
    return polls[~unstorable], {id_: checked.issues[code] for id_, code in zip(ids, codes, strict=True)}


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
