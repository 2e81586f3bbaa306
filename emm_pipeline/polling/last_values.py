"""Describe the last values of meters in one line, for their pages in Dagster (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import pandas as pd

SHOWN = 6
"""Maximum number of values of a meter; an event of each meter contains them."""

_FIRST_UNITS = ("W", "kW", "Wh", "kWh", "MWh", "V", "A", "Hz")
_LARGE = 1e6


def last_values(frame: pd.DataFrame, ids: Collection[int]) -> dict[int, str]:
    """Return, by meter id, the first value of each unit, such as `activePower 1234 W, voltageL1 230.1 V; and 18 more`.

    Args:
        frame: Columns `readings.READING_COLUMNS`; the rows of a meter follow each other.
        ids: The meters.
    """
    if not len(frame) or not ids:
        return {}
    all_ids = frame["id"].to_numpy()
    starts = np.flatnonzero(np.diff(all_ids, prepend=all_ids[0] - 1))
    measurements, units = (frame[name].astype("category").cat for name in ("measurement", "unit"))
    names, unit_names = measurements.categories.tolist(), [*units.categories.tolist(), ""]  # the code -1 is no unit
    name_codes, unit_codes = measurements.codes.to_numpy(), units.codes.to_numpy()
    values = frame["value"].to_numpy()
    chosen: dict[bytes, list[tuple[int, str, str]]] = {}  # many meters have the same measurements
    described = {}
    for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(all_ids)], strict=True):
        id_ = int(all_ids[start])
        if id_ not in ids:
            continue
        here = slice(start, stop)
        layout = name_codes[here].tobytes() + b"," + unit_codes[here].tobytes()
        if layout not in chosen:
            of_meter = [unit_names[code] for code in unit_codes[here].tolist()]
            rows = _first_of_each_unit(of_meter)
            chosen[layout] = [(row, names[name_codes[start + row]], of_meter[row]) for row in rows]
        shown = [f"{name} {_number(values[start + row])} {unit}".rstrip() for row, name, unit in chosen[layout]]
        more = stop - start - len(shown)
        described[id_] = ", ".join(shown) + (f"; and {more} more" if more else "")
    return described


def _first_of_each_unit(units: Sequence[str]) -> list[int]:
    """Return the rows to show: the first of each unit, power and energy first."""
    firsts = {unit: row for row, unit in reversed(list(enumerate(units)))}
    order = [unit for unit in _FIRST_UNITS if unit in firsts]
    order += [unit for unit in dict.fromkeys(units) if unit not in _FIRST_UNITS]
    return [firsts[unit] for unit in order[:SHOWN]]


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= _LARGE else f"{value:.6g}"
