"""The fields of a scan, and addresses with a port, as a person types them; what is wrong with each field (pure)."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from emm_pipeline.commissioning.endpoints import parse_endpoint
from emm_pipeline.commissioning.unit_ids import parse_unit_ids
from emm_pipeline.config_db.validation.meters import DEFAULT_PORT, HIGHEST_PORT, gateway_address
from emm_pipeline.config_db.values import TRANSPORT_NAMES, InvalidValueError, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from emm_pipeline.fleet import GatewayAddress

FIELDS = {"host": "", "port": str(DEFAULT_PORT), "units": "1-20", "transport": ""}
"""The fields and their values in a new form."""
_LONGEST = 200
_NO_PORT = 0
_DIGITS_AND_DOTS = re.compile(r"[0-9.]+")


def split_port(text: str) -> tuple[str, str | None]:
    """Return the host, without the brackets of an IPv6 address, and the port that follows it; None if there is none."""
    if text.startswith("/"):
        return text, None
    try:
        place = parse_endpoint(text, _NO_PORT)
    except ValueError:
        return text, None
    return place.host, None if place.port == _NO_PORT else str(place.port)


def host_issue(text: str) -> str | None:
    """Return what is wrong with the name or address of a gateway; None if it may be right."""
    if not text:
        return "enter a name or an address"
    if text.startswith("/"):
        return None
    if "/" in text:
        return f"is {shown(text)}; allowed: a name or an address without http:// and path, such as 192.168.1.113"
    if _DIGITS_AND_DOTS.fullmatch(text) and not _is_address(text):
        return f"is {shown(text)}, which is not an IPv4 address; one is 192.168.1.113"
    try:
        place = parse_endpoint(text, _NO_PORT)
    except ValueError as err:
        return str(err)
    return None if place.port == _NO_PORT else f"is {shown(text)}; enter the port in the field Port"


def _is_address(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


@dataclass(slots=True)
class ScanForm:
    """The form of a scan. `issues` are by field; the scan can start if there are none."""

    values: dict[str, str]
    issues: dict[str, str] = field(default_factory=dict)

    @property
    def first_issue(self) -> str | None:
        """The first field with an issue."""
        return next((name for name in self.values if name in self.issues), None)

    @classmethod
    def of_fields(cls, fields: Mapping[str, Any]) -> ScanForm:
        """Return a form that a person or a program has filled in; missing fields have their first values."""
        given = {name: first if fields.get(name) is None else fields[name] for name, first in FIELDS.items()}
        values = {name: str(value).strip()[:_LONGEST] for name, value in given.items()}
        values["host"], port = split_port(values["host"])
        if port is not None:
            values["port"] = port
        return cls(values | {"port": values["port"] or FIELDS["port"]})

    def parse(self) -> tuple[GatewayAddress, tuple[int, ...]] | None:
        """Return the gateway and the unit ids; None if a field is wrong, after filling `issues`."""
        name, port, units, transport = (self.values[each] for each in FIELDS)
        found: tuple[int, ...] = ()
        if reason := host_issue(name):
            self.issues["host"] = reason
        if not (port.isascii() and port.isdecimal() and 1 <= int(port) <= HIGHEST_PORT):
            self.issues["port"] = f"is {shown(port)}; allowed: 1 to {HIGHEST_PORT}"
        try:
            found = parse_unit_ids(units)
        except ValueError as err:
            self.issues["units"] = str(err)
        if transport not in {*TRANSPORT_NAMES, ""}:
            self.issues["transport"] = f"is {shown(transport)}; allowed: {', '.join(TRANSPORT_NAMES)}"
        if self.issues:
            return None
        try:
            return gateway_address(name, int(port), transport or None, None), found
        except InvalidValueError as err:
            self.issues["transport"] = str(err)
            return None
