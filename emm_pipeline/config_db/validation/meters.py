"""Check rows of `energy_meters` (pure)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from emm_pipeline.config_db import values
from emm_pipeline.config_db.validation.row_reader import RowReader
from emm_pipeline.config_db.values import InvalidValueError, shown
from emm_pipeline.fleet import (
    DEFAULT_SERIAL_SETTINGS,
    SERIAL_PORT,
    ConfigurationIssue,
    EnergyMeter,
    GatewayAddress,
    TransportKind,
)
from emm_pipeline.suggesting import suggestion

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from emm_pipeline.config_db.validation.row_reader import Row
    from emm_pipeline.fleet import MeterType

HIGHEST_PORT = 65535
DEFAULT_PORT = 502
HIGHEST_UNIT_ID = 255
LOWEST_ID, HIGHEST_ID = -(2**31), 2**31 - 1
"""Ids are 32-bit integers, as PostgreSQL's type integer."""


def check_meters(
    rows: Iterable[Row],
    types: Mapping[str, MeterType],
    issues: list[ConfigurationIssue],
    other_types: Collection[str] = (),
) -> list[EnergyMeter]:
    """Return the meters that can be polled, by id. Of several rows with one id, none is used unless all are equal.

    `other_types` are names of types that were not loaded; one of them is suggested instead of an unknown name.
    """
    found: dict[int, list[EnergyMeter | None]] = defaultdict(list)
    known = {*types, *other_types}
    instead = cache(lambda name: suggestion(name, known - {name}))
    for row in rows:
        meter_id = id_of(row)
        reader = RowReader("energy_meters", _row_name(row, meter_id), row, meter_id)
        if reader.read_or(True, "enabled", values.flag):
            meter = _check_meter(reader, types, instead)
            issues += reader.issues + reader.remarks
            if meter_id is not None:
                found[meter_id].append(meter)
    meters = []
    for meter_id, same in sorted(found.items()):
        meter = same[0]
        if any(other != meter for other in same):
            reason = f"occurs {len(same)} times with different values; none of them is polled"
            issues.append(ConfigurationIssue("energy_meters", f"id {meter_id}", "id", reason, meter_id))
        elif meter is not None:
            meters.append(meter)
            if len(same) > 1:
                reason = f"occurs {len(same)} times with the same values; one of them is polled"
                issues.append(ConfigurationIssue("energy_meters", f"id {meter_id}", "id", reason))
    return meters


def id_of(row: Row) -> int | None:
    """Return a row's id, whatever type the column has; None if the value is not an id."""
    return valid_id(row.get("id"))


def valid_id(value: object) -> int | None:
    """Return the id in the column `id`, whatever type it has; None if the value is not an id."""
    try:
        return values.integer(value, LOWEST_ID, HIGHEST_ID)
    except InvalidValueError:
        return None


def address_of(host: object, port: object) -> str | None:
    """Return `EnergyMeter.address` for the columns `host` and `port`; None if they are not valid."""
    try:
        checked = values.host(host)
        return checked if checked.startswith("/") else f"{checked}:{values.integer(port, 1, HIGHEST_PORT)}"
    except InvalidValueError:
        return None


def _row_name(row: Row, meter_id: int | None) -> str:
    if meter_id is not None:
        return f"id {meter_id}"
    return f"id {shown(row.get('id'))} with host {shown(row.get('host'))}"


def _check_meter(
    reader: RowReader, types: Mapping[str, MeterType], instead: Callable[[str], str]
) -> EnergyMeter | None:
    meter = EnergyMeter(
        id=reader.read("id", values.integer, LOWEST_ID, HIGHEST_ID),
        host=reader.read("host", values.host),
        port=reader.read("port", values.integer, 1, HIGHEST_PORT),
        unit_id=reader.read("slave_address", values.integer, 0, HIGHEST_UNIT_ID),
        type=reader.read("type", values.name),
        description=reader.read_if_possible("description", values.label),
        transport=reader.read_or(TransportKind.TCP, "transport", values.transport),
        factor=reader.read_or(1.0, "factor", values.factor),
        may_be_off=reader.read_or(False, "may_be_off", values.flag),
    )
    if meter.transport is TransportKind.SERIAL:
        settings = reader.read_or(DEFAULT_SERIAL_SETTINGS, "serial_settings", values.serial_settings)
        meter = replace(meter, serial_settings=settings)
        if meter.host and not meter.host.startswith("/"):
            reader.report("host", f"is {shown(meter.host)}; with transport serial, the path of a device is allowed")
        if meter.port is not None and meter.port != SERIAL_PORT:
            reader.report("port", f"is {meter.port}; with transport serial, {SERIAL_PORT} is allowed")
    if meter.type is not None and meter.type not in types:
        reason = f"is {shown(meter.type)}, a type without valid rows in the table registers{instead(meter.type)}"
        reader.report("type", reason)
    return None if reader.issues else meter


def gateway_address(host: str, port: int | None, transport: str | None, serial_settings: str | None) -> GatewayAddress:
    """Return the endpoint of a gateway that a person typed; a path means a serial line.

    Args:
        host: A name, an address, or the path of a serial device.
        port: None for the default.
        transport: None for the default.
        serial_settings: None for the default.

    Raises:
        InvalidValueError: The values cannot be combined.
    """
    is_path = host.startswith("/")
    kind = values.transport(transport) if transport else TransportKind.SERIAL if is_path else TransportKind.TCP
    if is_path != (kind is TransportKind.SERIAL):
        raise InvalidValueError(f"{shown(host)} does not go with transport {kind}: a path is a serial line")
    if kind is not TransportKind.SERIAL:
        if serial_settings:
            raise InvalidValueError(f"serial settings go with the path of a serial line, not with {shown(host)}")
        return GatewayAddress(host, port or DEFAULT_PORT, kind)
    return GatewayAddress(host, SERIAL_PORT, kind, values.serial_settings(serial_settings or DEFAULT_SERIAL_SETTINGS))
