"""The address of an MQTT broker, and how to log in."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emm_pipeline.errors import BrokerError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Broker:
    """The address of a broker, and how to log in. `ca_file` has certificates that are trusted in addition."""

    host: str
    port: int
    tls: bool = False
    user: str = ""
    password: str = field(default="", repr=False)
    ca_file: Path | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"

    def tls_context(self) -> ssl.SSLContext:
        """Return the context that checks the broker's certificate and its name.

        Raises:
            BrokerError: `ca_file` cannot be used.
        """
        context = ssl.create_default_context()
        if self.ca_file:
            try:
                context.load_verify_locations(self.ca_file)
            except OSError as err:
                reason = f"MQTT_CA_FILE={self.ca_file} holds no certificate that can be read ({err})"
                raise BrokerError(f"MQTT broker {self} cannot be used: {reason}") from err
        return context
