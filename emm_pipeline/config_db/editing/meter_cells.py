"""The cells of a meter in a list, which are texts, as columns of `energy_meters` (pure)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from emm_pipeline.config_db import values
from emm_pipeline.config_db.validation.meters import (
    DEFAULT_PORT,
    HIGHEST_ID,
    HIGHEST_PORT,
    LOWEST_ID,
    gateway_address,
)
from emm_pipeline.config_db.values import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from emm_pipeline.fleet import EnergyMeter

    Cells = Mapping[str, str | None]

_HOST_AND_PORT = re.compile(r"(?P<host>\[[^\]]+\]|[^:\[\]]+):(?P<port>\d+)")
_FURTHER: dict[str, Callable[[Any], Any]] = {
    "factor": values.factor,
    "may_be_off": values.flag,
    "enabled": values.flag,
    "max_power_w": values.power,
    "tariff": str.strip,
}
"""The columns that are written only if the list has them."""


def columns_of(cells: Cells) -> dict[str, Any]:
    """Return the cells of a meter as columns of `energy_meters`, with the defaults of host and port.

    Raises:
        InvalidValueError: Host, port and transport do not go together.
    """
    host, port = (cells.get("host") or "").strip(), cells.get("port")
    if found := _HOST_AND_PORT.fullmatch(host):
        if port and port.strip() != found["port"]:
            raise InvalidValueError(f"host is {host!r}, but port is {port!r}: write the port once")
        host, port = found["host"], found["port"]
    try:
        number = values.integer(port, 1, HIGHEST_PORT) if port else None
    except InvalidValueError as err:
        raise InvalidValueError(f"port {err}") from None
    gateway = gateway_address(host.strip("[]"), number, cells.get("transport"), cells.get("serial_settings"))
    return {
        "host": gateway.host or None,
        "port": gateway.port if host.startswith("/") else number or DEFAULT_PORT,
        "transport": str(gateway.transport),
        "serial_settings": gateway.serial_settings or None,
        "slave_address": cells.get("unit"),
        "type": cells.get("type"),
        **{name: cells[name] for name in ("description", "factor", "may_be_off") if cells.get(name) is not None},
    }


def row_of(meter: EnergyMeter, cells: Cells) -> dict[str, Any]:
    """Return the row of a valid meter.

    Raises:
        InvalidValueError: A column that does not concern reading, or its id, has no valid value.
    """
    row: dict[str, Any] = {
        "host": meter.host,
        "port": meter.port,
        "transport": str(meter.transport),
        "serial_settings": meter.serial_settings or None,
        "slave_address": meter.unit_id,
        "type": meter.type,
    }
    if meter.description is not None:
        row["description"] = meter.description
    for name, convert in _FURTHER.items():
        if cells.get(name) is not None:
            try:
                row[name] = convert(cells[name])
            except InvalidValueError as err:
                raise InvalidValueError(f"{name} {err}") from None
    if cells.get("id") is not None:
        try:
            row["id"] = values.integer(cells["id"], LOWEST_ID, HIGHEST_ID)
        except InvalidValueError as err:
            raise InvalidValueError(f"id {err}") from None
    return row
