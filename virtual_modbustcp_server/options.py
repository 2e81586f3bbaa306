"""The command line options of a virtual server."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING or __package__:
    from .modbus_tcp import DEFAULT_SERIAL_SETTINGS, TRANSPORTS
else:  # the folder was copied, and its files run as scripts
    from modbus_tcp import DEFAULT_SERIAL_SETTINGS, TRANSPORTS


def argument_parser(description: str | None, *, transport: bool = False) -> argparse.ArgumentParser:
    """Return a parser with the options `--host` and `--port`, and with `transport` also those of other transports."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on (default: %(default)s)")  # noqa: S104
    parser.add_argument("--port", type=int, default=502, help="TCP port to listen on (default: %(default)s)")
    if transport:
        parser.add_argument(
            "--transport",
            choices=TRANSPORTS,
            default="tcp",
            help="Modbus TCP, RTU over TCP, UDP, or RTU on the serial device that --host names (default: %(default)s)",
        )
        parser.add_argument(
            "--serial-settings", default=DEFAULT_SERIAL_SETTINGS, help="of the serial line (default: %(default)s)"
        )
    return parser
