"""Select the transport of a gateway. Only this module imports all transports.

For a new transport, add a member to `fleet.TransportKind`, a module beside this one, and a line here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emm_pipeline.fleet import TransportKind
from emm_pipeline.modbus.transport.mbap import MbapFraming
from emm_pipeline.modbus.transport.tcp import TcpTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    from emm_pipeline.fleet import GatewayAddress
    from emm_pipeline.modbus.transport.base import Transport

_MBAP = MbapFraming()

TRANSPORTS: dict[TransportKind, Callable[[GatewayAddress], Transport]] = {
    TransportKind.TCP: lambda gateway: TcpTransport(gateway, _MBAP),
}


def transport_to(gateway: GatewayAddress) -> Transport:
    """Return the gateway's transport, not yet opened."""
    return TRANSPORTS[gateway.transport](gateway)
