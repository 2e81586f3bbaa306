"""Endpoints as a person types them: `HOST`, `HOST:PORT`, `[IPV6]:PORT`, or the path of a serial line (pure)."""

from __future__ import annotations

import re
from typing import NamedTuple

from emm_pipeline.config_db.validation.meters import DEFAULT_PORT, HIGHEST_PORT
from emm_pipeline.config_db.values import InvalidValueError, host
from emm_pipeline.fleet import SERIAL_PORT

_HOST_AND_PORT = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(:(?P<port>[^:]*))?")
_BARE_IPV6 = re.compile(r"[0-9a-fA-F]*:[0-9a-fA-F.]*:[0-9a-fA-F:.]*(%\w+)?")


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


def parse_endpoint(text: str, default_port: int = DEFAULT_PORT) -> Endpoint:
    """Return an endpoint; the port is the default one where none is given.

    Raises:
        ValueError: It is not an endpoint; the message says which values are allowed.
    """
    if text.startswith("/"):
        return Endpoint(text, SERIAL_PORT)
    found = _HOST_AND_PORT.fullmatch(text)
    name, port = (found["host"], found["port"]) if found else (text, None)
    if not found and not _BARE_IPV6.fullmatch(text):
        raise ValueError(f"{text!r} is not HOST or HOST:PORT (an IPv6 address with a port: [::1]:502)")
    if port is not None and not (re.fullmatch(r"\d{1,5}", port, re.ASCII) and 1 <= int(port) <= HIGHEST_PORT):
        raise ValueError(f"{text!r} has port {port!r}; allowed: 1 to {HIGHEST_PORT}")
    try:
        return Endpoint(host(name.strip("[]")), int(port) if port else default_port)
    except InvalidValueError as err:
        raise ValueError(f"the host of {text!r} {err}") from None
