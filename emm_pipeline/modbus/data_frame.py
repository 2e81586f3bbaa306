"""Collect the points of many meter readings, and convert them to a DataFrame (pure).

Texts are represented as codes until the end, because a million points have only a few hundred different texts, and
references to texts take more time and memory than numbers.
"""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from emm_pipeline.modbus.allocation import empty
from emm_pipeline.readings import READING_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from emm_pipeline.readings import MeterReading


Codes: TypeAlias = "NDArray[np.signedinteger[Any]]"


class Points(NamedTuple):
    """Points of the meter readings with one layout, sorted by meter reading, then by register."""

    meters: NDArray[np.intp]
    """Indices of the meter readings that have register blocks."""
    counts: NDArray[np.intp]
    """Number of points of each of these meter readings."""
    name: Codes
    unit: Codes
    """Codes of texts, as `Texts` has them: one for each point, as the values."""
    value: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        meters: NDArray[np.intp],
        names: Codes,
        units: Codes,
        values: NDArray[np.float64],
        present: NDArray[np.bool_],
    ) -> Points:
        """Create points from the present values, shape (meters, registers), of registers with these names and units."""
        if present.all():
            counts = np.full(len(meters), len(names))
            return cls(meters, counts, np.tile(names, len(meters)), np.tile(units, len(meters)), values.ravel())
        columns = present.nonzero()[1]
        return cls(meters, present.sum(axis=1), names[columns], units[columns], values[present])


_NO_INDICES, _NO_CODES = np.empty(0, np.intp), np.empty(0, np.int8)
_NO_POINTS = Points(_NO_INDICES, _NO_INDICES, _NO_CODES, _NO_CODES, np.empty(0))


class Texts:
    """Assigns a code to each different text; None has the code -1."""

    def __init__(self) -> None:
        self._codes: dict[str | None, int] = {None: -1}

    def codes(self, texts: Iterable[str | None]) -> Codes:
        """Return the codes of texts as the smallest possible type; the code of None is -1."""
        known = self._codes
        codes = [known.setdefault(text, len(known) - 1) for text in texts]
        return np.array(codes, dtype=np.min_scalar_type(-len(known)))

    def column(self, codes: Codes) -> Any:
        """Return the texts of these codes as a categorical column."""
        import pandas as pd  # noqa: PLC0415

        categories = pd.Index(list(self._codes)[1:], dtype=object)
        return pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(categories), validate=False)


def in_order(parts: Sequence[Points]) -> Points:
    """Join the points of several layouts in the order of the meter readings."""
    if len(parts) == 1:  # avoids two copies of the large arrays of a uniform fleet
        return parts[0]
    joined = Points(*(np.concatenate(columns) for columns in zip(_NO_POINTS, *parts, strict=True)))
    order = joined.meters.repeat(joined.counts).argsort(kind="stable")
    return Points(joined.meters, joined.counts, joined.name[order], joined.unit[order], joined.value[order])


def to_frame(meter_readings: Sequence[MeterReading], points: Points, names: Texts, units: Texts) -> pd.DataFrame:
    """Return the points as a DataFrame with READING_COLUMNS.

    Args:
        meter_readings: All meter readings, to which `points.meters` refers.
        points: The points of the meter readings.
        names: The texts of `points.name`.
        units: The texts of `points.unit`.
    """
    import pandas as pd  # noqa: PLC0415 - takes 0.4 s, and code that only reads does not need it

    points_of = np.zeros(len(meter_readings), np.intp)
    points_of[points.meters] = points.counts
    # The times are in UTC. If a zone were given here, pandas would convert each one, which takes twice as long.
    times = pd.DatetimeIndex([each.time for each in meter_readings]) if meter_readings else pd.DatetimeIndex([], tz=UTC)
    repeated_times, repeated_ids = empty(2, len(points.value), dtype=np.int64)
    _repeat(times.as_unit("ms").asi8, points_of, repeated_times)
    _repeat(np.array([each.meter.id for each in meter_readings], np.int64), points_of, repeated_ids)
    descriptions = _texts_of_meters([each.meter.description for each in meter_readings])
    columns = (
        pd.array(repeated_times, dtype=pd.DatetimeTZDtype("ms", UTC), copy=False),
        repeated_ids,
        descriptions.repeat(points_of),
        names.column(points.name),
        units.column(points.unit),
        points.value,
    )
    return pd.DataFrame(dict(zip(READING_COLUMNS, columns, strict=True)), copy=False)


_METERS_AT_ONCE = 1000


def _repeat(of_meters: NDArray[np.int64], counts: NDArray[np.intp], out: NDArray[np.int64]) -> None:
    """Write each number as often as its count into `out`, in parts, so that little memory is needed besides."""
    begin = 0
    for first in range(0, len(of_meters), _METERS_AT_ONCE):
        some = slice(first, first + _METERS_AT_ONCE)
        part = of_meters[some].repeat(counts[some])
        out[begin : begin + len(part)] = part
        begin += len(part)


def _texts_of_meters(texts: list[str | None]) -> Any:
    """Return a text for each meter as a categorical column; the usual case, that all differ, takes half of the time."""
    import pandas as pd  # noqa: PLC0415

    different = dict.fromkeys(texts)
    if len(different) < len(texts) or None in different:
        codes = Texts()
        return codes.column(codes.codes(texts))
    categories = pd.CategoricalDtype(pd.Index(texts, dtype=object))
    return pd.Categorical.from_codes(
        np.arange(len(texts), dtype=np.min_scalar_type(-len(texts) - 1)), dtype=categories, validate=False
    )
