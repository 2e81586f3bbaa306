"""Types of the command line's parameters: `HOST[:PORT]`, unit ids, register addresses."""

from __future__ import annotations

import re
from typing import NamedTuple

import click

from emm_pipeline.config_db.validation.meters import DEFAULT_PORT, HIGHEST_PORT, HIGHEST_UNIT_ID
from emm_pipeline.config_db.values import InvalidValueError, host, manual_reference
from emm_pipeline.fleet import HIGHEST_ADDRESS, SERIAL_PORT

_HOST_AND_PORT = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(:(?P<port>[^:]*))?")
_BARE_IPV6 = re.compile(r"[0-9a-fA-F]*:[0-9a-fA-F.]*:[0-9a-fA-F:.]*(%\w+)?")
_UNITS = re.compile(r"(\d{1,3})(?:-(\d{1,3}))?", re.ASCII)


class Endpoint(NamedTuple):
    """Host and port of a gateway or a device; for a serial line, the path of its device."""

    host: str
    port: int

    def __str__(self) -> str:
        return self.host if self.is_path else f"{self.host}:{self.port}"

    @property
    def is_path(self) -> bool:
        """Whether it is the path of a device."""
        return self.host.startswith("/")

    @property
    def text(self) -> str:
        """As a person types it: an IPv6 address in brackets."""
        if self.is_path:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else str(self)


class EndpointType(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
    """`HOST`, `HOST:PORT`, `[IPV6]:PORT`, `/dev/…`; the port is 502 where none is given."""

    name = "host[:port]"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Endpoint:
        """Return the endpoint, or fail with a message that says which values are allowed."""
        if isinstance(value, Endpoint):
            return value
        text = str(value)
        if text.startswith("/"):
            return Endpoint(text, SERIAL_PORT)
        found = _HOST_AND_PORT.fullmatch(text)
        name, port = (found["host"], found["port"]) if found else (text, None)
        if not found and not _BARE_IPV6.fullmatch(text):
            self.fail(f"{text!r} is not HOST or HOST:PORT (an IPv6 address with a port: [::1]:502)", param, ctx)
        if port is not None and not (re.fullmatch(r"\d{1,5}", port, re.ASCII) and 1 <= int(port) <= HIGHEST_PORT):
            self.fail(f"{text!r} has port {port!r}; allowed: 1 to {HIGHEST_PORT}", param, ctx)
        try:
            return Endpoint(host(name.strip("[]")), int(port or DEFAULT_PORT))
        except InvalidValueError as err:
            return self.fail(f"the host of {text!r} {err}", param, ctx)


class UnitsType(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
    """Unit ids such as `1-247`, `5` or `1,3,10-20`: each once, in the order given."""

    name = "units"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return the unit ids, or fail with a message that says which values are allowed."""
        units: dict[int, None] = {}
        for part in str(value).replace(" ", "").split(","):
            found = _UNITS.fullmatch(part)
            first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
            if not first <= last <= HIGHEST_UNIT_ID:
                self.fail(f"{part!r} is not a unit id (0 to 255) or a range of them; examples: 5, 1-247", param, ctx)
            units |= dict.fromkeys(range(first, last + 1))
        return tuple(units)


class AddressType(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
    """A register address as sent in a request (counted from 0): decimal, or hexadecimal with 0x."""

    name = "address"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the address, or fail with a message that says which values are allowed."""
        text = str(value)
        if not re.fullmatch(r"\d{1,6}|0[xX][0-9a-fA-F]{1,6}", text, re.ASCII):
            self.fail(f"{text!r} is not a register address; allowed: 0 to 65535, or 0x0 to 0xFFFF", param, ctx)
        address = int(text, 16) if text.lower().startswith("0x") else int(text)
        if address > HIGHEST_ADDRESS:
            reference = manual_reference(address)
            hint = f"; in a manual this is --fc {reference[0]:d} --address {reference[1]}" if reference else ""
            self.fail(f"{text} is beyond the last register, {HIGHEST_ADDRESS}{hint}", param, ctx)
        return address


ENDPOINT = EndpointType()
UNITS = UnitsType()
ADDRESS = AddressType()
UNIT_ID = click.IntRange(0, HIGHEST_UNIT_ID)
