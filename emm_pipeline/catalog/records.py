"""What the catalogue knows of a device type. Frozen records, nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emm_pipeline.fleet import MeterType, Register


@dataclass(frozen=True, slots=True)
class Identification:
    """What a register of a device of the type holds: a raw value from `low` to `high`, both included.

    A strong one says which device it is (a code of the vendor's), a weak one that it may be one (a voltage that makes
    sense).
    """

    register: Register
    low: float
    high: float
    strong: bool

    def matches(self, raw_value: float) -> bool:
        """Whether the raw value is one that the type would give."""
        return self.low <= raw_value <= self.high


@dataclass(frozen=True, slots=True)
class CatalogueType:
    """A device type of the catalogue.

    `document` is the vendor's, `sources` are the public places against which each row was checked, `notes` say what
    they disagree on and what was left out. All of `identifications` hold for a device of the type.
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
        """The type's registers, by function code and address."""
        return self.meter_type.registers
