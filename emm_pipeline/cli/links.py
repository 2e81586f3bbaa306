"""Options of the commands that communicate with a device: the transport and the pauses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from emm_pipeline.config_db.validation.meter_types import MAX_CONNECT_PAUSE_S, MAX_REOPEN_PAUSE_S
from emm_pipeline.config_db.validation.meters import gateway_address
from emm_pipeline.config_db.values import TRANSPORT_NAMES, InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Callable

    from emm_pipeline.commissioning.endpoints import Endpoint
    from emm_pipeline.fleet import GatewayAddress

_TRANSPORT = click.option(
    "--transport",
    type=click.Choice(TRANSPORT_NAMES),
    help="tcp: Modbus TCP; rtu: RTU frames over TCP; udp; serial.  [default: tcp; serial for a path]",
)
_SERIAL = click.option("--serial", "serial_settings", metavar="SETTINGS", help="Of a serial line.  [default: 9600 8N1]")
_CONNECT_PAUSE = click.option(
    "--connect-pause",
    type=click.FloatRange(0, MAX_CONNECT_PAUSE_S),
    help="Seconds between connecting and the first request; some inverters need 1 to 5.",
)
_REOPEN_PAUSE = click.option(
    "--reopen-pause",
    type=click.FloatRange(0, MAX_REOPEN_PAUSE_S),
    help="Seconds between closing a connection and opening the next one.",
)


def transport_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `transport` and `serial_settings`."""
    return _TRANSPORT(_SERIAL(command))


def pause_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `connect_pause` and `reopen_pause`."""
    return _CONNECT_PAUSE(_REOPEN_PAUSE(command))


def gateway_of(endpoint: Endpoint, transport: str | None, serial_settings: str | None) -> GatewayAddress:
    """Return the gateway at an endpoint.

    Raises:
        click.UsageError: The options cannot be combined.
    """
    try:
        return gateway_address(endpoint.host, endpoint.port, transport, serial_settings)
    except InvalidValueError as err:
        raise click.UsageError(str(err)) from None


def link_of(gateway: GatewayAddress) -> str:
    """Return the options that a person types for this gateway, with a space before them; nothing for Modbus TCP."""
    if gateway.serial_settings:
        return f" --serial '{gateway.serial_settings}'"
    return "" if gateway.transport == TRANSPORT_NAMES[0] else f" --transport {gateway.transport}"
