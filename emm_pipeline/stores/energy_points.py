"""Points of `emm_energy` as columns: the energy of hours, days and months. Pure; needs NumPy, not pandas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from emm_pipeline.stores.points import Columns, TextColumn

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class EnergyPoints(Columns):
    """Energies of intervals. A point is identified by meter, measurement, unit, period and time."""

    time: NDArray[np.int64]
    """The interval's beginning: milliseconds since 1970, UTC."""
    id: NDArray[np.int64]
    """The meter's id."""
    description: TextColumn
    measurement: TextColumn
    """The counter's name; never missing."""
    dataunit: TextColumn
    """The unit of the energy: kWh, kvarh or kVAh."""
    period: TextColumn
    """`hour`, `day` or `month`."""
    energy: NDArray[np.float64]
    coverage: NDArray[np.float64]
    """Percentage of the time that is covered by readings."""
    cost: NDArray[np.float64]
    """NaN if it is not known."""
    estimated: NDArray[np.float64]
    """The part of the energy that was interpolated."""
    readings: NDArray[np.int64]
    flags: TextColumn

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]]) -> EnergyPoints:
        """Make columns of rows as `rows` yields them; None is a missing cost."""
        listed = list(rows)

        def numbers(name: str) -> NDArray[np.float64]:
            return np.array([np.nan if row[name] is None else row[name] for row in listed], np.float64)

        def whole(name: str) -> NDArray[np.int64]:
            return np.array([row[name] for row in listed], np.int64)

        def texts(name: str) -> TextColumn:
            return TextColumn.of(row[name] for row in listed)

        return cls(
            time=whole("time"),
            id=whole("id"),
            description=texts("description"),
            measurement=texts("measurement"),
            dataunit=texts("dataunit"),
            period=texts("period"),
            energy=numbers("energy"),
            coverage=numbers("coverage"),
            cost=numbers("cost"),
            estimated=numbers("estimated"),
            readings=whole("readings"),
            flags=texts("flags"),
        )
