"""Costs of intervals, by the tariffs of their meters (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from emm_pipeline.energy.amounts import PER_CURRENCY_UNIT, kwh_of, rounded
from emm_pipeline.energy.prices import pieces
from emm_pipeline.energy.units import billed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from emm_pipeline.energy.intervals import CurveReader
    from emm_pipeline.energy.prices import Price, Tariff
    from emm_pipeline.energy.records import Series

IMPORT, EXPORT = 1, -1


def billed_series(series: Sequence[Series], tariffs: Mapping[int, Tariff]) -> dict[int, int]:
    """Return the series that have a cost: by index, IMPORT for energy to pay for, EXPORT for energy fed in.

    Args:
        series: All series.
        tariffs: By meter id.
    """
    of_meter: dict[int, dict[str, int]] = {}
    for index, each in enumerate(series):
        if each.meter_id in tariffs and each.unit == "kWh":
            of_meter.setdefault(each.meter_id, {})[each.measurement] = index
    found: dict[int, int] = {}
    for names in of_meter.values():
        imported, exported = billed(names)
        if imported is not None:
            found[names[imported]] = IMPORT
        if exported is not None:
            found[names[exported]] = EXPORT
    return found


def costs(
    reader: CurveReader, series: Sequence[Series], tariffs: Mapping[int, Tariff], edges: Sequence[int]
) -> NDArray[np.float64]:
    """Return the cost of each interval between the edges, one row per series; NaN where it has none or is not known.

    An interval in which the price changes is split at the time of the change.
    """
    result = np.full((len(series), len(edges) - 1), np.nan)
    directions = billed_series(series, tariffs)
    if not directions:
        return result
    distinct = {id(tariff): tariff for tariff in tariffs.values()}
    fine = pieces(edges[0], edges[-1], distinct.values(), edges)
    kwh = kwh_of(reader.energies(np.array(fine, np.int64)))
    begins = np.searchsorted(fine, edges[:-1])
    prices = {key: [tariff.price_at(each) for each in fine[:-1]] for key, tariff in distinct.items()}
    for index, direction in directions.items():
        of_tariff = prices[id(tariffs[series[index].meter_id])]
        price = np.array([_price(each, direction) for each in of_tariff])
        flowed = kwh[index]
        cost = np.where(flowed == 0, 0.0, flowed * price)
        result[index] = rounded(np.add.reduceat(cost, begins), PER_CURRENCY_UNIT)
    return result


def _price(price: Price | None, direction: int) -> float:
    if price is None:
        return np.nan
    return price.price if direction == IMPORT else -price.export_price
