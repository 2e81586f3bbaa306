"""Frozen records of the catalogue: device types, and how to identify them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emm_pipeline.fleet import MeterType, Register


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

    `document` is the vendor's document, `sources` are the public sources against which each row was checked, and
    `notes` say where these disagree and what was left out. A device of the type meets all of `identifications`.
    """

    name: str
    title: str
    vendor: str
    document: str
    sources: tuple[str, ...]
    notes: tuple[str, ...]
    identifications: tuple[Identification, ...]
    meter_type: MeterType

    @property
    def registers(self) -> tuple[Register, ...]:
        """The type's registers, sorted by function code and address."""
        return self.meter_type.registers
