"""Detect, in a container, a Docker engine that lets the local network reach ports published on 127.0.0.1.

A container cannot read the engine's version. But engines before version 28 derive the hardware address of a container
on a bridge network from its IP address (02:42 and the address's four bytes); later ones use a random one. Engines
before version 28 do not drop packets to 127.0.0.1 that come from the network:
https://docs.docker.com/engine/network/port-publishing/
"""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from emm_pipeline.credentials import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterable

_INTERFACES = Path("/sys/class/net")
_GET_ADDRESS = 0x8915  # SIOCGIFADDR
_PREFIX = bytes((0x02, 0x42))


def warning_of_engine(bind: str) -> str:
    """Return a warning for the person who starts the stack, or an empty text.

    Args:
        bind: EMM_BIND, the address on which the stack's ports are published.
    """
    if not is_loopback(bind) or not is_older_than_28(interfaces()):
        return ""
    return (
        "WARNING: this Docker engine is older than version 28: machines of the local network can reach ports that are "
        f"published on {bind}. Grafana and Dagster require a login; do not use docker/databases.yml. Upgrade Docker to "
        "version 28. To check it on the host: docker/check-engine"
    )


def is_older_than_28(addresses: Iterable[tuple[str, str]]) -> bool | None:
    """Return whether the engine is older than version 28; None if no interface shows it.

    Args:
        addresses: hardware address and IPv4 address of each interface but loopback.
    """
    derived = [
        bytes.fromhex(hardware.replace(":", "")) == _PREFIX + ipaddress.IPv4Address(address).packed
        for hardware, address in addresses
    ]
    return any(derived) if derived else None


def interfaces(folder: Path = _INTERFACES) -> list[tuple[str, str]]:
    """Return hardware address and IPv4 address of each interface of this container or machine, except loopback."""
    found = []
    for interface in sorted(folder.iterdir()) if folder.is_dir() else ():
        address = _address_of(interface.name)
        hardware = (interface / "address").read_text(encoding="ascii").strip() if address else ""
        if address and hardware and not is_loopback(address):
            found.append((hardware, address))
    return found


def _address_of(interface: str) -> str | None:
    request = struct.pack("256s", interface.encode()[:15])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            reply = fcntl.ioctl(asking, _GET_ADDRESS, request)
        except OSError:  # it has none
            return None
    return socket.inet_ntoa(reply[20:24])
