"""Points of many samples, and the DataFrame that they become. Pure.

Texts are codes until the end: a million points have a few hundred texts, and references to them cost more than numbers.
"""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from emm_pipeline.readings import READING_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from emm_pipeline.readings import MeterSample


class Points(NamedTuple):
    """Points of the samples of one layout; all arrays of the same length, sorted by sample, then by register."""

    sample: NDArray[np.intp]
    """Index into all samples."""
    name: NDArray[np.int32]
    unit: NDArray[np.int32]
    """Codes of texts, as `Texts` has them."""
    value: NDArray[np.float64]


_NO_POINTS = Points(np.empty(0, np.intp), np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0))


class Texts:
    """Texts as codes: the same text always has the same, None has -1."""

    def __init__(self) -> None:
        self._codes: dict[str | None, int] = {None: -1}

    def codes(self, texts: Iterable[str | None]) -> NDArray[np.int32]:
        """The texts' codes; that of None is -1."""
        known = self._codes
        return np.array([known.setdefault(text, len(known) - 1) for text in texts], dtype=np.int32)

    def column(self, codes: NDArray[np.int32]) -> Any:
        """The texts of these codes, as a categorical column."""
        import pandas as pd  # noqa: PLC0415

        categories = pd.Index(list(self._codes)[1:], dtype=object)
        return pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(categories), validate=False)


def in_order(parts: Sequence[Points]) -> Points:
    """Joins the points of several layouts, in the order of the samples."""
    if len(parts) == 1:  # spares the large arrays of a uniform fleet two copies
        return parts[0]
    joined = Points(*(np.concatenate(columns) for columns in zip(_NO_POINTS, *parts, strict=True)))
    order = joined.sample.argsort(kind="stable")
    return Points(joined.sample[order], joined.name[order], joined.unit[order], joined.value[order])


def to_frame(samples: Sequence[MeterSample], points: Points, names: Texts, units: Texts) -> pd.DataFrame:
    """Returns the points as a DataFrame with READING_COLUMNS.

    Args:
        samples: All that `points.sample` counts.
        points: What they hold.
        names: The texts of `points.name`.
        units: The texts of `points.unit`.
    """
    import pandas as pd  # noqa: PLC0415 - takes 0.4 s, which those who only read need not wait for

    seconds = np.array([s.time.timestamp() for s in samples])
    times = pd.DatetimeIndex(np.rint(1000 * seconds).astype("datetime64[ms]")).tz_localize(UTC)
    ids = np.array([s.meter.id for s in samples], dtype=np.int64)
    texts = Texts()
    descriptions = texts.column(texts.codes(s.meter.description for s in samples))
    columns = (
        times.take(points.sample),
        ids[points.sample],
        descriptions.take(points.sample),
        names.column(points.name),
        units.column(points.unit),
        points.value,
    )
    return pd.DataFrame(dict(zip(READING_COLUMNS, columns, strict=True)), copy=False)
