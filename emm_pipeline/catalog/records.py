"""Frozen records of the catalogue: device types, and how to identify them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emm_pipeline.fleet import MeterType, Register


KINDS = ("meter", "inverter", "hybrid", "battery", "charger")
"""Kinds of devices. A hybrid is an inverter with a battery; all may also report values of a grid meter."""

INTERFACES = ("RS485", "Modbus TCP", "UDP")
"""Interfaces of devices. RS485 needs a gateway (transport `tcp` or `rtu`) or a serial port (`serial`)."""


@dataclass(frozen=True, slots=True)
class Identification:
    """A condition on a register of a device of the type: its raw value is from `low` to `high`, both included.

    A strong identification proves the type (an identification code of the vendor). A weak one makes it likely (a
    plausible voltage).
    """

    register: Register
    low: float
    high: float
    strong: bool

    def matches(self, raw_value: float) -> bool:
        """Whether the raw value is within the limits."""
        return self.low <= raw_value <= self.high


@dataclass(frozen=True, slots=True)
class CatalogueType:
    """A device type of the catalogue.

    `kind` is one of `KINDS`, `aliases` are other series with the same registers, and `interfaces` are those by which
    such devices are reached (`INTERFACES`). `document` is the vendor's document, `sources` are the public sources
    against which each row was checked, and `notes` say where these disagree and what was left out. A device of the
    type meets all of `identifications`.
    """

    name: str
    title: str
    vendor: str
    kind: str
    aliases: tuple[str, ...]
    interfaces: tuple[str, ...]
    document: str
    sources: tuple[str, ...]
    notes: tuple[str, ...]
    identifications: tuple[Identification, ...]
    meter_type: MeterType

    @property
    def searched(self) -> str:
        """The text in which a search looks for a word, in lower case."""
        return "\n".join((self.name, self.title, self.vendor, self.kind, *self.aliases)).lower()

    @property
    def registers(self) -> tuple[Register, ...]:
        """The type's registers, sorted by function code and address."""
        return self.meter_type.registers
