"""The devices that the page does not reach in the stack: virtual ones, whose network only pollers use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emm_pipeline.runnable import is_elsewhere

if TYPE_CHECKING:
    from emm_pipeline.fleet import GatewayAddress


def hint_on_reach(gateway: GatewayAddress, command: str) -> str | None:
    """Return why a gateway cannot be reached, if it may be a virtual device of the stack: its name has no dot.

    Args:
        gateway: The gateway to which no connection was possible.
        command: The command that a person can run in place of the page.
    """
    if not is_elsewhere() or not gateway.host or set(gateway.host) & set(".:/"):
        return None
    return (
        f"if {gateway.host} is a virtual device of the stack: this page does not reach it, as it is in the network "
        f"devices, which only polls use; run: {command}"
    )
