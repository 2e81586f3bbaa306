"""Select the transport of a gateway. Only this module imports all transports.

For a new transport, add a member to `fleet.TransportKind`, a module beside this one, and a line here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emm_pipeline.fleet import TransportKind
from emm_pipeline.modbus.transport.mbap import MbapFraming
from emm_pipeline.modbus.transport.rtu import RtuFraming
from emm_pipeline.modbus.transport.serial import SerialTransport
from emm_pipeline.modbus.transport.tcp import TcpTransport
from emm_pipeline.modbus.transport.udp import UdpTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    from emm_pipeline.fleet import GatewayAddress
    from emm_pipeline.modbus.transport.base import Transport

_MBAP = MbapFraming()
_RTU = RtuFraming()

TRANSPORTS: dict[TransportKind, Callable[[GatewayAddress], Transport]] = {
    TransportKind.TCP: lambda gateway: TcpTransport(gateway, _MBAP),
    TransportKind.RTU: lambda gateway: TcpTransport(gateway, _RTU),
    TransportKind.UDP: lambda gateway: UdpTransport(gateway, _MBAP),
    TransportKind.SERIAL: SerialTransport,
}


_OTHER_FRAMINGS = {TransportKind.TCP: (TransportKind.RTU,), TransportKind.RTU: (TransportKind.TCP,)}


def other_framings(gateway: GatewayAddress) -> tuple[GatewayAddress, ...]:
    """Return the other transports that may be in use at the same host and port."""
    return tuple(gateway._replace(transport=kind) for kind in _OTHER_FRAMINGS.get(gateway.transport, ()))


def transport_to(gateway: GatewayAddress) -> Transport:
    """Return the gateway's transport, not yet opened."""
    return TRANSPORTS[gateway.transport](gateway)
