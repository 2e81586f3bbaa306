"""The meters as they are published: what the configuration and the labels of the devices say about each (pure)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emm_pipeline.mqtt.topics import level_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from emm_pipeline.fleet import Fleet, MeterType
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

    `levels` are the last levels of its topics. `falling` are series whose values fall while the device counts up.
    `properties` are Home Assistant's properties of the device, such as `serial_number`.
    """

    id: int
    name: str
    levels: Mapping[Series, str]
    falling: frozenset[Series] = frozenset()
    properties: Mapping[str, str] = field(default_factory=dict)


def published_meters(fleet: Fleet, labels: Mapping[int, Mapping[str, str]]) -> dict[int, PublishedMeter]:
    """Return every enabled meter by id. One with a configuration issue has no series, but stays known.

    Args:
        fleet: the configuration.
        labels: by meter id, what the device says of itself: name to text.
    """
    series = {name: _series(meter_type) for name, meter_type in fleet.types.items()}
    levels = {name: level_names(each) for name, each in series.items()}
    falling = {name: _falling(meter_type) for name, meter_type in fleet.types.items()}
    meters = {id_: PublishedMeter(id_, f"meter {id_}", {}) for id_ in fleet.misconfigured}
    for meter in fleet.meters:
        properties = {"model": meter.type} | _properties(labels.get(meter.id, {}))
        name = meter.description or f"meter {meter.id}"
        meters[meter.id] = PublishedMeter(meter.id, name, levels[meter.type], falling[meter.type], properties)
    return meters


def _series(meter_type: MeterType) -> tuple[Series, ...]:
    return tuple((register.measurement_name, register.data_unit) for register in meter_type.registers)


def _falling(meter_type: MeterType) -> frozenset[Series]:
    return frozenset((each.measurement_name, each.data_unit) for each in meter_type.registers if each.scale < 0)


def _properties(labels: Mapping[str, str]) -> dict[str, str]:
    known = {"".join(filter(str.isalnum, name)).lower(): text.strip() for name, text in labels.items()}
    found = {
        name: next((known[each] for each in candidates if known.get(each)), None)
        for name, candidates in _LABELS.items()
    }
    return {name: text for name, text in found.items() if text}
