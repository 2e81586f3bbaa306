"""Types of the command line's parameters: `HOST[:PORT]`, unit ids, register addresses."""

from __future__ import annotations

import re

import click

from emm_pipeline.commissioning.endpoints import Endpoint, parse_endpoint
from emm_pipeline.commissioning.unit_ids import parse_unit_ids
from emm_pipeline.config_db.validation.meters import HIGHEST_UNIT_ID
from emm_pipeline.config_db.values import manual_reference
from emm_pipeline.fleet import HIGHEST_ADDRESS


class EndpointType(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
    """`HOST`, `HOST:PORT`, `[IPV6]:PORT`, `/dev/…`; the port is 502 where none is given."""

    name = "host[:port]"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Endpoint:
        """Return the endpoint, or fail with a message that says which values are allowed."""
        if isinstance(value, Endpoint):
            return value
        try:
            return parse_endpoint(str(value))
        except ValueError as err:
            return self.fail(str(err), param, ctx)


class UnitsType(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
    """Unit ids such as `1-247`, `5` or `1,3,10-20`: each once, in the order given."""

    name = "units"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return the unit ids, or fail with a message that says which values are allowed."""
        try:
            return parse_unit_ids(str(value))
        except ValueError as err:
            return self.fail(str(err), param, ctx)


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
