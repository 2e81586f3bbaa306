"""Reads the facts: which registers a public project gives for a device.

Columns of a file in `facts`: device, quantity (a short name), function_code, address, data_type and word_order (as in
the catalogue), scale, unit, value_offset, invalid_values (separated by spaces), scale_register. An empty scale or unit
means that the project does not give it next to the register. Devices of SunSpec are models: addresses count from the
model's first register, which holds its id.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from emm_pipeline.registers import DataType

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

FOLDER = Path(__file__).parent

_BIG_ENDIAN = 2

_FACTORS = {
    f"{prefix}{unit}": (f"k{unit}", factor / 1e3) if unit.endswith("h") else (unit, factor)
    for unit in ("W", "V", "A", "Hz", "VA", "var", "Wh", "VAh", "varh")
    for prefix, factor in (("m", 1e-3), ("", 1.0), ("k", 1e3), ("M", 1e6))
}
"""By unit of a fact: the catalogue's unit of this quantity, and by how much a value has to be multiplied."""


@dataclass(frozen=True, slots=True)
class Source:
    """A public project and the commit that was read.

    Projects of one `group` copy from each other and count as one source. `has_directions` is true if the project has
    the catalogue's signs: import, generation and discharge are positive.
    """

    project: str
    repository: str
    commit: str
    group: str
    has_directions: bool


@dataclass(frozen=True, slots=True)
class Fact:
    """One register of a device as a project gives it. `scale` and `unit` are None where the project does not say."""

    project: str
    device: str
    quantity: str
    function_code: int
    address: int
    data_type: DataType
    word_order: int
    scale: float | None
    unit: str | None
    value_offset: float
    invalid_values: tuple[int | float, ...]
    scale_register: int | None

    @property
    def base(self) -> tuple[float | None, str | None]:
        """The scale and the unit in the catalogue's units: W, kWh, V, A, Hz."""
        unit, factor = _FACTORS.get(self.unit or "", (self.unit, 1.0))
        return (None if self.scale is None else self.scale * factor), unit


@dataclass(frozen=True, slots=True)
class Device:
    """A project's device that describes a type of the catalogue.

    `shift` is added to the type's addresses to get the project's. The functions in `function_codes` count as equal to
    that of the type: the device answers to both. `reliable_scale` is false if the scales in the facts are not final.
    """

    type: str
    project: str
    device: str
    shift: int
    function_codes: frozenset[int]
    reliable_scale: bool


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        yield from csv.DictReader(lines)


@cache
def load_sources() -> Mapping[str, Source]:
    """Return the projects by their short name."""
    return {
        row["project"]: Source(
            row["project"],
            row["repository"],
            row["commit"],
            row["group"] or row["project"],
            row["has_directions"] == "yes",
        )
        for row in _rows(FOLDER / "sources.csv")
    }


@cache
def load_devices() -> Mapping[str, Sequence[Device]]:
    """Return the devices that describe each type."""
    devices: dict[str, list[Device]] = {}
    for row in _rows(FOLDER / "devices.csv"):
        codes = frozenset(int(code) for code in row["function_codes"].split())
        device = Device(
            *(row["type"], row["project"], row["device"], int(row["shift"] or 0), codes),
            reliable_scale=row["scale"] != "in code",
        )
        devices.setdefault(row["type"], []).append(device)
    return devices


@cache
def load_facts(project: str) -> Mapping[str, Sequence[Fact]]:
    """Return a project's facts by device."""
    facts: dict[str, list[Fact]] = {}
    for row in _rows(FOLDER / "facts" / f"{project}.csv"):
        facts.setdefault(row["device"], []).append(_fact(project, row))
    return facts


def _fact(project: str, row: Mapping[str, str]) -> Fact:
    return Fact(
        *(project, row["device"], row["quantity"], int(row["function_code"]), int(row["address"])),
        data_type=DataType[row["data_type"]],
        word_order=int(row["word_order"] or _BIG_ENDIAN),
        scale=float(row["scale"]) if row["scale"] else None,
        unit=row["unit"] or None,
        value_offset=float(row["value_offset"] or 0),
        invalid_values=tuple(map(_number, row["invalid_values"].split())),
        scale_register=int(row["scale_register"]) if row["scale_register"] else None,
    )


def _number(text: str) -> int | float:
    return int(text) if text.lstrip("-").isdigit() else float(text)
