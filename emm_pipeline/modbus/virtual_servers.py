"""Ask a virtual server why it answers with exception 4: it tells so in registers, with the place of its log.

`virtual_modbustcp_server/status.py` writes the text. A device that is no virtual server refuses the request, or sends
other registers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emm_pipeline.readings import Request
from emm_pipeline.registers import FunctionCode

if TYPE_CHECKING:
    from emm_pipeline.fleet import GatewayAddress

STATUS = Request(FunctionCode.READ_HOLDING_REGISTERS, 65400, 125)
MARK = "EMM virtual server: "
MOST_S = 1.0
"""Seconds that the reply may take: the request is sent only for a better message."""


def explanation(data: bytes, gateway: GatewayAddress) -> str | None:
    """Return what the virtual server at a gateway says, or None if the registers are those of another device.

    Args:
        data: The registers of STATUS, as on the wire.
        gateway: Where the server is; in the stack the host is the name of its service.
    """
    text = data.rstrip(b"\0").decode(errors="replace")
    if not text.startswith(MARK) or not text.isprintable():
        return None
    return f"it is a virtual server: {text.removeprefix(MARK).replace('{host}', gateway.host)}"
