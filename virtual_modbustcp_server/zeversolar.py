"""Serves the data of a ZeverSolar TLC inverter, which it reads over HTTP.

    unit 1   holding register 0    FLOAT   present power, W
             holding register 2    FLOAT   energy of today, kWh

The option `--inverter` or the environment variable ZEVERSOLAR_HOST gives the inverter's name or address (with `:port`
if the port is not 80). At night the inverter is off and does not answer; both registers then hold no value (NaN).
"""

from __future__ import annotations

import math
import os
import socket
from typing import TYPE_CHECKING
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

if TYPE_CHECKING or __package__:
    from .server import DeviceOff, VirtualModbusTCPServer, argument_parser
else:  # the folder was copied, and its files run as scripts
    from server import DeviceOff, VirtualModbusTCPServer, argument_parser

TIMEOUT_S = 5.0
POWER_LINE = 10
"""Line of the page, counted from 0, with the present power in W."""
ENERGY_LINE = 11
"""Line of the page with the energy of today in kWh."""
_LONGEST_PAGE = 65536


class ZeverSolarServer(VirtualModbusTCPServer):
    """One inverter as unit 1."""

    def __init__(self, host: str, port: int, inverter: str) -> None:
        super().__init__(host, port)
        self._url = f"http://{inverter}/home.cgi?sid=0"

    def set_datastore(self) -> None:
        """Read the inverter. If it does not answer, both registers hold no value."""
        self._write(None, None)
        self._write(*parse(fetch(self._url)))

    def _write(self, power_w: float | None, energy_kwh: float | None) -> None:
        self.write(0, power_w, unit_id=1)
        self.write(2, energy_kwh, unit_id=1)


def fetch(url: str) -> str:
    """Return the text at `url`.

    Raises:
        DeviceOff: The inverter does not answer.
        OSError: The host name cannot be resolved, or the response is an HTTP error.
    """
    try:
        # The inverter is on the local network: do not use a proxy from the environment.
        with build_opener(ProxyHandler({})).open(url, timeout=TIMEOUT_S) as response:
            return str(response.read(_LONGEST_PAGE), "utf-8", "replace")
    except HTTPError:
        raise
    except (URLError, TimeoutError, ConnectionError) as err:
        reason = getattr(err, "reason", err)
        if isinstance(reason, socket.gaierror):
            raise OSError(f"{url}: {reason.strerror}: check ZEVERSOLAR_HOST") from err
        raise DeviceOff(f"{url}: {reason}") from err


def parse(page: str) -> tuple[float, float]:
    """Return the present power in W and the energy of today in kWh from the text of the page.

    Raises:
        ValueError: The text is not the page of a TLC inverter.
    """
    lines = page.splitlines()
    power_w = _number(lines, POWER_LINE, "the present power in W")
    return power_w, _number(lines, ENERGY_LINE, "the energy of today in kWh")


def _number(lines: list[str], index: int, what: str) -> float:
    text = lines[index].strip() if index < len(lines) else "missing"
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ValueError(f"line {index} of home.cgi should be {what}, but is {text!r:.40}")
    return value


if __name__ == "__main__":
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--inverter",
        default=os.environ.get("ZEVERSOLAR_HOST"),
        help="name or address of the inverter (default: $ZEVERSOLAR_HOST)",
    )
    options = parser.parse_args()
    if not options.inverter:
        parser.error("the inverter's address is missing: set --inverter or ZEVERSOLAR_HOST")
    ZeverSolarServer(options.host, options.port, options.inverter).run()
