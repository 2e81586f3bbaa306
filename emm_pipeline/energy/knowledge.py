"""The counters and tariffs of the configuration (pure)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, time
from typing import TYPE_CHECKING, Any

from emm_pipeline.config_db.validation.tariffs import parse_weekdays
from emm_pipeline.energy.amounts import LARGEST_KWH, PER_KWH
from emm_pipeline.energy.prices import PriceRow, Tariff
from emm_pipeline.energy.records import Counter, Series
from emm_pipeline.energy.units import is_energy_counter, power_of, unit_of_counter
from emm_pipeline.registers import DataType

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from zoneinfo import ZoneInfo

    from emm_pipeline.fleet import EnergyMeter, Fleet, MeterType
    from emm_pipeline.registers import Register

_RAW_VALUES = {
    DataType.INT: 2**16,
    DataType.LONG: 2**32,
    DataType.UINT16: 2**16,
    DataType.UINT32: 2**32,
    DataType.UINT24: 2**24,
    DataType.UINT48: 2**48,
    DataType.INT48: 2**48,
    DataType.BCD4: 10**4,
    DataType.BCD8: 10**8,
    DataType.MODULO_10000: 10**8,
}
"""Number of raw values after which a register begins at 0 again. Wider ones, and floats, never do."""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """The configuration for the computation of energies.

    Attributes:
        counters: By series.
        differences: Meters' ids and names of measurements that are no counters, since a part is subtracted.
        powers: The meters without a counter: by name and unit of their power, their ids.
        tariffs: By meter id.
        descriptions: By meter id; an absent one has none.
        max_power_kw: By meter id.
        issues: What prevents a cost, one line each.
    """

    counters: Mapping[Series, Counter] = field(default_factory=dict)
    differences: frozenset[tuple[int, str]] = frozenset()
    powers: Mapping[tuple[str, str], tuple[int, ...]] = field(default_factory=dict)
    tariffs: Mapping[int, Tariff] = field(default_factory=dict)
    descriptions: Mapping[int, str] = field(default_factory=dict)
    max_power_kw: Mapping[int, float] = field(default_factory=dict)
    issues: tuple[str, ...] = ()


def knowledge_of(
    fleet: Fleet, meters: Iterable[Mapping[str, Any]], prices: Iterable[Mapping[str, Any]], zone: ZoneInfo
) -> Knowledge:
    """Combine the fleet with the rows of `energy_rows`.

    Args:
        fleet: The enabled meters and their types.
        meters: Their id, description, max_power_w and tariff; disabled meters too.
        prices: Rows of `tariffs`.
        zone: The time zone of the prices.
    """
    rows = {row["id"]: row for row in meters}
    max_power = {id_: row["max_power_w"] / 1000 for id_, row in rows.items() if row["max_power_w"]}
    counters: dict[Series, Counter] = {}
    differences: set[tuple[int, str]] = set()
    powers: dict[tuple[str, str], list[int]] = {}
    for meter in fleet.meters:
        meter_type = fleet.types[meter.type]
        limit = round(max_power.get(meter.id, 0.0) * PER_KWH)
        for register in meter_type.measured:
            if found := _counter(meter, register, limit):
                counters[found[0]] = found[1]
        for combined in meter_type.combined:
            if any(part.factor < 0 for part in combined.parts):
                differences.add((meter.id, combined.measurement_name))
            elif (unit := unit_of_counter(combined.data_unit)) is not None:
                counters[Series(meter.id, combined.measurement_name, unit.unit)] = Counter(max_power=limit)
        if power := power_of(_counted(meter_type)):
            powers.setdefault(power, []).append(meter.id)
    tariffs, issues = _tariffs(rows.values(), prices, zone)
    return Knowledge(
        counters,
        frozenset(differences),
        {power: tuple(ids) for power, ids in powers.items()},
        tariffs,
        {id_: str(row["description"]).strip() for id_, row in rows.items() if row["description"]},
        max_power,
        tuple(issues),
    )


def _counted(meter_type: MeterType) -> list[tuple[str, str | None]]:
    """Return the stored measurements of a type, except energies from which a part is subtracted."""
    net = {
        each.measurement_name
        for each in meter_type.combined
        if any(part.factor < 0 for part in each.parts) and unit_of_counter(each.data_unit)
    }
    return [series for series in meter_type.stored_series if series[0] not in net]


def _counter(meter: EnergyMeter, register: Register, limit: int) -> tuple[Series, Counter] | None:
    unit = unit_of_counter(register.data_unit)
    if unit is None or not register.stored or not is_energy_counter(register.measurement_name, register.data_unit):
        return None
    factor = meter.factor if register.uses_factor else 1.0
    step = abs(register.scale * factor) * unit.factor
    raw = _RAW_VALUES.get(register.data_type, 0)
    if register.mask:
        raw = register.mask // (register.mask & -register.mask) + 1
    if register.scale_register is not None or register.data_type not in _RAW_VALUES:
        step, raw = 0.0, 0  # the power of ten is known to the device only, or the digits are those of a float
    modulus = raw * step if raw * step < LARGEST_KWH else 0.0
    series = Series(meter.id, register.measurement_name, unit.unit)
    counts_down = register.scale * factor < 0
    return series, Counter(round(step * PER_KWH), round(modulus * PER_KWH), counts_down, limit)


def _tariffs(
    meters: Iterable[Mapping[str, Any]], prices: Iterable[Mapping[str, Any]], zone: ZoneInfo
) -> tuple[dict[int, Tariff], list[str]]:
    rows: dict[str, list[PriceRow]] = {}
    issues = []
    for row in prices:
        name = str(row["name"] or "").strip()
        try:
            rows.setdefault(name, []).append(_price_row(row))
        except (TypeError, ValueError) as err:
            issues.append(f"tariffs, {name!r} valid from {row['valid_from']}: {err}")
    tariffs = {name: Tariff(of_name, zone) for name, of_name in rows.items() if of_name}
    found = {}
    for meter in meters:
        name = str(meter["tariff"] or "").strip()
        if name in tariffs:
            found[meter["id"]] = tariffs[name]
        elif name:
            issues.append(f"energy_meters, id {meter['id']}: tariff is {name!r}, of which the table tariffs has no row")
    return found, issues


def _price_row(row: Mapping[str, Any]) -> PriceRow:
    valid_from, from_time, to_time = row["valid_from"], row["from_time"] or time(), row["to_time"] or time()
    if not isinstance(valid_from, date) or row["price_per_kwh"] is None:
        raise ValueError("valid_from and price_per_kwh are required")
    return PriceRow(
        valid_from,
        parse_weekdays(str(row["weekdays"] or "1-7").strip()),
        from_time,
        to_time,
        float(row["price_per_kwh"]),
        float(row["base_price_per_month"] or 0),
        str(row["currency"] or "EUR"),
        float(row["export_price"] or 0),
    )
