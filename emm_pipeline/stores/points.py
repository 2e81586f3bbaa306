"""Batches of points as columns, which the pipeline passes to the outbox and the stores. Pure; needs NumPy, not pandas.

A batch of 200 000 points consists of six columns, not of 200 000 objects or lines of text. Texts are stored as codes,
because a batch has few different texts, and each is escaped, checked and stored once. `shaping` creates batches.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np

from emm_pipeline.stores.texts import text_or_none

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

Rows: TypeAlias = "slice | NDArray[Any]"
"""A selection of rows: a range, indices, or a mask."""


@dataclass(frozen=True, slots=True, eq=False)
class TextColumn:
    """Texts, some of which may be missing.

    `codes`: one signed integer per row, the index of the row's text in `distinct`, or -1 if it has none.
    `distinct`: each text once, never empty. After a selection of rows, some may be unused.
    """

    codes: NDArray[np.integer[Any]]
    distinct: tuple[str, ...]

    @classmethod
    def of(cls, texts: Iterable[object]) -> Self:
        """Create a column; None, NaN and the empty string are missing texts."""
        texts = list(texts)
        known: dict[str | None, int] = {None: -1}
        code_of = {text: known.setdefault(text_or_none(text), len(known) - 1) for text in dict.fromkeys(texts)}
        codes = np.fromiter(map(code_of.__getitem__, texts), code_type(len(known)), len(texts))
        return cls(codes, tuple(text for text in known if text is not None))

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: Rows) -> Self:
        return type(self)(self.codes[rows], self.distinct)

    def tolist(self) -> list[str | None]:
        """Return the text of each row, or None if it has none."""
        texts = (*self.distinct, None)  # index -1 is the last
        return [texts[code] for code in self.codes.tolist()]


def code_type(texts: int) -> np.dtype[Any]:
    """Return the smallest signed integer type for the codes of this number of texts."""
    return np.min_scalar_type(-max(texts, 1))


Column: TypeAlias = "NDArray[Any] | TextColumn"


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Columns of equal length; the fields of the class are the columns."""

    def __len__(self) -> int:
        return len(next(iter(self.columns().values())))

    def __getitem__(self, rows: Rows) -> Self:
        return type(self)(**{name: column[rows] for name, column in self.columns().items()})

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of the columns, in order."""
        return tuple(field.name for field in fields(cls))

    def columns(self) -> dict[str, Column]:
        """Return the columns by name, in order."""
        return {name: getattr(self, name) for name in self.names()}

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield each row as a dictionary of built-in Python types."""
        names = self.names()
        for row in zip(*(column.tolist() for column in self.columns().values()), strict=True):
            yield dict(zip(names, row, strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class Readings(Columns):
    """Points of measurements. A point is identified by meter, measurement, unit and time."""

    time: NDArray[np.int64]
    """Milliseconds since 1970, UTC."""
    id: NDArray[np.int64]
    """The meter's id."""
    description: TextColumn
    measurement: TextColumn
    """The measurement's name; never missing."""
    unit: TextColumn
    value: NDArray[np.float64]
    """The value in `unit`; always finite."""

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]]) -> Self:
        """Make columns of rows as `rows` yields them."""
        time, id_, description, measurement, unit, value = _transposed(rows, cls.names())
        return cls(
            np.array(time, np.int64),
            np.array(id_, np.int64),
            TextColumn.of(description),
            TextColumn.of(measurement),
            TextColumn.of(unit),
            np.array(value, np.float64),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Polls(Columns):
    """The result of reading each meter: points of `emm_poll`. A point is identified by meter and time."""

    time: NDArray[np.int64]
    """Milliseconds since 1970, UTC."""
    id: NDArray[np.int64]
    """The meter's id."""
    description: TextColumn
    ok: NDArray[np.bool_]
    latency_ms: NDArray[np.float64]
    """Latency in milliseconds; NaN if it is not known."""
    requests: NDArray[np.int64]
    points: NDArray[np.int64]
    error: TextColumn
    status: TextColumn
    """One of `status.State`; missing in points of earlier versions."""

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]]) -> Self:
        """Make columns of rows as `rows` yields them; `status` may be left out."""
        rows = [{"status": None, **row} for row in rows]
        return cls.of_columns(*_transposed(rows, cls.names()))

    @classmethod
    def of_columns(cls, *columns: Sequence[Any]) -> Self:
        """Make columns of sequences in the order of the fields."""
        time, id_, description, ok, latency_ms, requests, points, error, status = columns
        return cls(
            np.array(time, np.int64),
            np.array(id_, np.int64),
            TextColumn.of(description),
            np.array(ok, np.bool_),
            np.array(latency_ms, np.float64),
            np.array(requests, np.int64),
            np.array(points, np.int64),
            TextColumn.of(error),
            TextColumn.of(status),
        )


@dataclass(frozen=True, slots=True, eq=False)
class PointBatch:
    """Points that are stored together: readings and polls.

    Every store can hold its texts (see `naming`).
    """

    readings: Readings
    polls: Polls

    @classmethod
    def of(cls, readings: Iterable[Mapping[str, Any]] = (), polls: Iterable[Mapping[str, Any]] = ()) -> Self:
        """Create a batch from rows as `Columns.rows` yields them."""
        return cls(Readings.of(readings), Polls.of(polls))

    def __len__(self) -> int:
        return len(self.readings) + len(self.polls)

    def __getitem__(self, rows: slice) -> Self:
        """Return the points of a range; readings come first, then polls."""
        start, stop, _ = rows.indices(len(self))
        before = len(self.readings)
        polls = self.polls[max(start - before, 0) : max(stop - before, 0)]
        return type(self)(self.readings[start:stop], polls)

    def meter_ids(self) -> list[int]:
        """Return the meter's id of each point."""
        return [*self.readings.id.tolist(), *self.polls.id.tolist()]


def _transposed(rows: Iterable[Mapping[str, Any]], names: tuple[str, ...]) -> list[list[Any]]:
    rows = list(rows)
    return [[row[name] for row in rows] for name in names]
