"""Find energy counters that fell: their value is lower than before (pure).

The highest value of each counter is kept between polls. A counter that fell is reported until it has reached this value
again, or until FALL_LASTS has passed: then the lower value counts, because the meter was probably replaced or reset.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from emm_pipeline.plausibility import is_counter
from emm_pipeline.status import RegisterIssue, RegisterIssueKind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    import pandas as pd

    from emm_pipeline.fleet import MeterType
    from emm_pipeline.readings import MeterReading

FALL_LASTS = timedelta(days=1)

ROUNDING = 1e-6
"""Part of its value by which a counter may fall without a report: devices compute with numbers of 24 bits."""

Counters: TypeAlias = "dict[str, float | list[float | str]]"
"""The counters of a meter, by name and unit, such as `importActiveEnergy kWh`: the highest value; for a counter that
fell, this value and the time of the fall (ISO 8601, UTC)."""


@dataclass(frozen=True, slots=True)
class CounterComparison:
    """The counters after a fleet reading, and those that fell, by meter id."""

    after: Mapping[int, Counters] = field(default_factory=dict)
    fallen: Mapping[int, Sequence[RegisterIssue]] = field(default_factory=dict)

    def to_save(self) -> dict[int, str]:
        """Return the counters of each meter as a text."""
        return {id_: json.dumps(counters) for id_, counters in self.after.items()}


def load(text: str | None) -> Counters:
    """Return the counters that a text of `to_save` contains; none if it is invalid."""
    try:
        counters = json.loads(text or "{}")
    except ValueError:
        return {}
    return counters if isinstance(counters, dict) else {}


def compare(
    readings: Sequence[MeterReading],
    frame: pd.DataFrame,
    types: Mapping[str, MeterType],
    before: Mapping[int, Counters],
    now: datetime,
) -> CounterComparison:
    """Compare the counters of a fleet reading with those before it.

    The sign does not count, because a meter that is mounted backwards has a negative factor. A sum from which a part is
    subtracted is not a counter.

    Args:
        readings: One per meter.
        frame: Their values, with the columns of `readings.READING_COLUMNS`.
        types: Their meter types by name.
        before: The counters before, by meter id.
        now: Aware.
    """
    after: dict[int, Counters] = {}
    fallen: dict[int, list[RegisterIssue]] = {}
    no_counters = _differences(readings, types)
    for id_, name, unit, value in _counter_rows(frame):
        if id_ in no_counters and name in no_counters[id_]:
            continue
        counters = after.get(id_)
        if counters is None:
            counters = after[id_] = dict(before.get(id_, {}))
        key = f"{name} {unit}"
        known = counters.get(key, value)
        highest, since = (known, None) if isinstance(known, (int, float)) else (float(known[0]), str(known[1]))
        if value >= highest - ROUNDING * highest:
            counters[key] = max(value, highest)
            continue
        fell_at = datetime.fromisoformat(since) if since else now
        if now - fell_at >= FALL_LASTS:
            counters[key] = value
            continue
        counters[key] = [highest, fell_at.isoformat()]
        reason = (
            f"the counter fell from {highest:.10g} to {value:.10g} {unit}: "
            "if the meter was not replaced or reset, check data type, word order and address"
        )
        fallen.setdefault(id_, []).append(RegisterIssue(name, RegisterIssueKind.IMPLAUSIBLE, reason, fell_at))
    return CounterComparison(after, fallen)


def _counter_rows(frame: pd.DataFrame) -> Iterator[tuple[int, str, str, float]]:
    """Yield the meter's id, name, unit and absolute value of each counter in the frame."""
    if not len(frame):
        return
    measurements, units = (frame[name].astype("category").cat for name in ("measurement", "unit"))
    names, unit_names = measurements.categories.tolist(), units.categories.tolist()
    kinds = np.array([[is_counter(name, unit) for unit in unit_names] + [False] for name in names], dtype=bool)
    name_codes, unit_codes = measurements.codes.to_numpy(), units.codes.to_numpy()  # the code -1 is the last column
    rows = np.flatnonzero(kinds[name_codes, unit_codes])
    columns = (
        frame["id"].to_numpy()[rows],
        name_codes[rows],
        unit_codes[rows],
        np.abs(frame["value"].to_numpy()[rows]),
    )
    for id_, name, unit, value in zip(*(column.tolist() for column in columns), strict=True):
        yield id_, names[name], unit_names[unit], value


def _differences(readings: Sequence[MeterReading], types: Mapping[str, MeterType]) -> dict[int, Collection[str]]:
    """Return, by meter id, the combined measurements from which a part is subtracted."""
    of_type = {
        name: {each.measurement_name for each in meter_type.combined if any(part.factor < 0 for part in each.parts)}
        for name, meter_type in types.items()
    }
    if not any(of_type.values()):
        return {}
    return {reading.meter.id: of_type[reading.meter.type] for reading in readings if of_type[reading.meter.type]}
