"""Home Assistant's MQTT discovery: one message per meter, a device with a sensor for each measurement (pure).

Sources: https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload and
https://github.com/home-assistant/core/blob/2024.11.0/homeassistant/components/mqtt/schemas.py
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from emm_pipeline.mqtt.quantities import quantity_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from emm_pipeline.mqtt.meters import PublishedMeter
    from emm_pipeline.mqtt.topics import Series, Topics

_PLATFORM = {"platform": "sensor"}


def discovery_payload(
    meter: PublishedMeter, topics: Topics, version: str, *, as_json: bool, expires_after_s: int | None = None
) -> bytes:
    """Return the discovery of a meter, or an empty payload if it has no measurement.

    Args:
        meter: the meter.
        topics: the names of topics.
        version: EMM's version.
        as_json: whether the values of a meter are published together.
        expires_after_s: time (s) after which Home Assistant shows a sensor without a new value as unavailable.
    """
    if not meter.levels:
        return b""
    device = {"identifiers": [f"{topics.node}_{meter.id}"], "name": meter.name, **meter.properties}
    expiry: dict[str, str | int] = {} if expires_after_s is None else {"expire_after": expires_after_s}
    payload = {
        "device": device,
        "origin": {"name": "EMM", "sw_version": version},
        "availability": [{"topic": topics.status}, {"topic": topics.availability(meter.id)}],
        "availability_mode": "all",
        "components": {
            name: {**_sensor(meter, series, name, topics, as_json=as_json), **expiry}
            for series, name in meter.levels.items()
        },
    }
    return _as_bytes(payload)


def _sensor(
    meter: PublishedMeter, series: Series, level_name: str, topics: Topics, *, as_json: bool
) -> dict[str, str | int]:
    name, unit = series
    quantity = quantity_of(name, unit, may_fall=series in meter.falling)
    sensor: dict[str, str | int | None] = {
        **_PLATFORM,
        "unique_id": f"{topics.node}_{meter.id}_{level_name}",
        "name": name if level_name.count("%20") == 0 else f"{name} ({unit or 'no unit'})",
        "state_topic": topics.json(meter.id) if as_json else topics.value(meter.id, level_name),
        "value_template": _template(level_name) if as_json else None,
        "unit_of_measurement": unit,
        "device_class": quantity.device_class,
        "state_class": quantity.state_class,
        "suggested_display_precision": quantity.precision,
    }
    return {key: value for key, value in sensor.items() if value is not None}


def _template(level_name: str) -> str:
    """Return the template for a value in a meter's JSON. Without this value, the sensor's state is unknown."""
    text = json.dumps(level_name, ensure_ascii=False)
    # The escapes of JSON are also those of Jinja. Braces could end the template.
    text = text.replace("{", "\\u007b").replace("}", "\\u007d")
    return "{{ value_json['values'].get(" + text + ") }}"


def update_messages(before: bytes, after: bytes) -> Iterator[bytes]:
    """Yield the payloads that replace one discovery by another.

    Home Assistant removes a sensor when its entry has nothing but the platform; leaving it out has no effect.
    """
    old, new = _components(before), _components(after)
    removed = old.keys() - new.keys()
    if after and removed:
        payload = json.loads(after)
        payload["components"] = new | dict.fromkeys(sorted(removed), _PLATFORM)
        yield _as_bytes(payload)
    yield after


def _components(payload: bytes) -> dict[str, Any]:
    """Return the sensors of a discovery; none if another program has changed it into something else."""
    try:
        components = json.loads(payload)["components"] if payload else {}
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return components if isinstance(components, dict) else {}


def _as_bytes(payload: dict[str, Any]) -> bytes:
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
