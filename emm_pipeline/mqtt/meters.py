"""The meters as they are published: what the configuration and the labels of the devices say about each (pure)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emm_pipeline.mqtt.topics import level_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from emm_pipeline.fleet import Fleet, MeterType, Register
    from emm_pipeline.mqtt.topics import Series

_LABELS = {
    "serial_number": ("serialnumber", "serial", "serialno"),
    "model": ("model", "modelname", "productname", "devicemodel"),
    "manufacturer": ("manufacturer", "vendor"),
    "sw_version": ("firmware", "firmwareversion", "softwareversion", "version"),
}
"""Home Assistant's property of a device: names of labels, in lower case and without separators, that hold it."""


@dataclass(frozen=True, slots=True)
class PublishedMeter:
    """A meter with the series that it publishes.

    `levels` are the last levels of its topics. `falling` are series that may fall, even if they
    are counters. `properties` are Home Assistant's properties of the device, such as `serial_number`.
    """

    id: int
    name: str
    levels: Mapping[Series, str]
    falling: frozenset[Series] = frozenset()
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PublishedFleet:
    """Every enabled meter by id, and by id the time of its last poll (milliseconds since 1970, UTC), on any host."""

    meters: Mapping[int, PublishedMeter]
    polled: Mapping[int, int] = field(default_factory=dict)


def published_meters(fleet: Fleet, labels: Mapping[int, Mapping[str, str]]) -> dict[int, PublishedMeter]:
    """Return every enabled meter by id. One with a configuration issue has no series, but stays known.

    Args:
        fleet: the configuration.
        labels: by meter id, what the device says of itself: name to text.
    """
    levels = {name: level_names(meter_type.stored_series) for name, meter_type in fleet.types.items()}
    falling = {
        (name, is_negative): _falling(meter_type, factor_is_negative=is_negative)
        for name, meter_type in fleet.types.items()
        for is_negative in (False, True)
    }
    meters = {id_: PublishedMeter(id_, _name(id_), {}) for id_ in fleet.misconfigured}
    for meter in fleet.meters:
        properties = {"model": meter.type} | _properties(labels.get(meter.id, {}))
        may_fall = falling[meter.type, meter.factor < 0]
        name = _name(meter.id, meter.description)
        meters[meter.id] = PublishedMeter(meter.id, name, levels[meter.type], may_fall, properties)
    return meters


def _name(meter_id: int, description: str | None = None) -> str:
    return (description or "").strip() or f"meter {meter_id}"


def _falling(meter_type: MeterType, *, factor_is_negative: bool) -> frozenset[Series]:
    """Return the series whose values may fall while the device counts up: with a sign, or as a difference."""
    measured = {each.measurement_name: each for each in meter_type.measured}
    falling = {name for name, each in measured.items() if _may_fall(each, factor_is_negative=factor_is_negative)}
    series = {(name, measured[name].data_unit) for name in falling}
    for each in meter_type.combined:
        if any((part.factor < 0) != (part.measurement_name in falling) for part in each.parts):
            series.add((each.measurement_name, each.data_unit))
    return frozenset(series)


def _may_fall(register: Register, *, factor_is_negative: bool) -> bool:
    if register.sign_register is not None:
        return True
    is_negative = register.scale < 0 and not register.absolute
    return is_negative != (register.uses_factor and factor_is_negative)


def _properties(labels: Mapping[str, str]) -> dict[str, str]:
    known = {"".join(filter(str.isalnum, name)).lower(): text.strip() for name, text in labels.items()}
    found = {
        name: next((known[each] for each in candidates if known.get(each)), None)
        for name, candidates in _LABELS.items()
    }
    return {name: text for name, text in found.items() if text}
