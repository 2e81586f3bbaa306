"""Compares the rows of a catalogue type with the facts of its sources (pure).

A row agrees with a fact if address, data type, word order, scale, unit, phase and direction are equal. Whether a number
is signed counts only for values that can be negative.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from emm_pipeline.modbus.no_value import no_value_patterns
from emm_pipeline.registers import FLOATS, DataType
from tools.catalogue.facts import load_facts, load_sources
from tools.catalogue.words import meaning_differences

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from emm_pipeline.catalog import CatalogueType
    from emm_pipeline.registers import Register
    from tools.catalogue.facts import Device, Fact

LEAST_SOURCES = 2

_OTHER_DIRECTION = "the other direction"

_UNSIGNED = {DataType.UINT16: DataType.INT, DataType.UINT32: DataType.LONG, DataType.UINT64: DataType.INT64}
_NEVER_NEGATIVE_UNITS = frozenset({"V", "Hz", "kWh", "kvarh", "kVAh", "%", "VA"})
_NEVER_NEGATIVE = re.compile(
    r"dc|generated|gridImport|gridExport|importActive|exportActive|batteryCharge|batteryDischarge|current|session|load"
)


@dataclass(slots=True)
class Row:
    """A row of the catalogue with the facts at its address: those that agree, and why others do not."""

    register: Register
    agreeing: list[Fact] = field(default_factory=list)
    differing: list[tuple[Fact, str]] = field(default_factory=list)

    @property
    def groups(self) -> set[str]:
        """The independent sources that agree."""
        return {load_sources()[fact.project].group for fact in self.agreeing}

    @property
    def contradictions(self) -> list[str]:
        """Return what is wrong whatever the number of agreeing sources, in a few words each."""
        directions = [f"{fact.project}: {why}" for fact, why in self.differing if _OTHER_DIRECTION in why]
        return [*directions, *_sign_contradictions(self), *_no_value_contradictions(self)]

    @property
    def is_agreed(self) -> bool:
        """Whether at least two independent sources agree, and nothing contradicts."""
        return len(self.groups) >= LEAST_SOURCES and not self.contradictions


def compare(entry: CatalogueType, devices: Sequence[Device]) -> list[Row]:
    """Return the rows of a type, each with the facts at its address."""
    at: dict[int, list[tuple[Device, Fact]]] = defaultdict(list)
    for device in devices:
        for fact in load_facts(device.project).get(device.device, ()):
            at[fact.address - device.shift].append((device, fact))
    return [_compare_row(register, at[register.register_address]) for register in entry.registers]


def _compare_row(register: Register, facts: Iterable[tuple[Device, Fact]]) -> Row:
    row = Row(register)
    for device, fact in facts:
        if register.model is not None and fact.device != f"model {register.model}":
            continue
        reasons = list(_differences(register, fact, device))
        if reasons:
            row.differing.append((fact, ", ".join(reasons)))
        else:
            row.agreeing.append(fact)
    return row


def _sign_contradictions(row: Row) -> Iterator[str]:
    """Yield the type of the sources if the row is signed and can be negative, but each source reads it as unsigned."""
    register = row.register
    if register.data_type in _UNSIGNED.values() and not _is_never_negative(register) and row.agreeing:
        types = {fact.data_type for fact in row.agreeing}
        if register.data_type not in types:
            yield f"all sources have type {' and '.join(sorted(each.name for each in types))}"


def _no_value_contradictions(row: Row) -> Iterator[str]:
    """Yield values for "no reading" that sources give and the row lacks, or the row has and no source can mean."""
    if row.register.data_type in {DataType.STRING, *FLOATS}:
        return
    own, known = set(no_value_patterns(row.register)), _usual_no_values(row.register)
    for fact in row.agreeing:
        if fact.invalid_values and fact.data_type is row.register.data_type:
            given = replace(row.register, invalid_value=None, invalid_values=fact.invalid_values)
            patterns = set(no_value_patterns(given))
            known |= patterns
            if not own & patterns:
                yield f"{fact.project} takes {' and '.join(map(str, fact.invalid_values))} for no value"
    if own - known:
        yield f"no source takes {' and '.join(map(str, sorted(own - known)))} for no value"


def _usual_no_values(register: Register) -> set[int]:
    """0, all bits set, and the largest and lowest signed number: whole series use them, and sources often omit them."""
    bits = 16 * register.words
    return {0, (1 << bits) - 1, (1 << bits - 1) - 1, 1 << bits - 1}


def _differences(register: Register, fact: Fact, device: Device) -> Iterator[str]:
    """Yield what a fact says differently, in a few words each."""
    codes = {int(register.function_code), *device.function_codes}
    if fact.function_code not in codes:
        yield f"function {fact.function_code}"
    if not _same_type(register, fact.data_type):
        yield f"type {fact.data_type.name}"
    if register.words > 1 and register.data_type is not DataType.STRING and fact.word_order != register.word_order:
        yield f"word order {fact.word_order}"
    yield from _scale_differences(register, fact, device)
    yield from meaning_differences(register, fact)


def _same_type(register: Register, data_type: DataType) -> bool:
    if register.data_type in {data_type, _UNSIGNED.get(data_type)}:  # unsigned in a source: equal for positive values
        return True
    return _is_never_negative(register) and _UNSIGNED.get(register.data_type) is data_type


def _is_never_negative(register: Register) -> bool:
    return register.data_unit in _NEVER_NEGATIVE_UNITS or bool(_NEVER_NEGATIVE.match(register.measurement_name))


def _has_direction(register: Register) -> bool:
    """Return whether the sign says where the energy flows: a signed current has the direction of its power."""
    if "urrent" in register.measurement_name:
        return register.data_type not in _UNSIGNED and not register.measurement_name.startswith("dc")
    return not _is_never_negative(register)


def _scale_differences(register: Register, fact: Fact, device: Device) -> Iterator[str]:
    if register.data_type is DataType.STRING:
        return
    scale, unit = fact.base
    if unit is not None and unit != (register.data_unit or "1"):
        yield f"unit {unit}"
    elif scale is None or not device.reliable_scale:
        yield "no scale"
    elif not math.isclose(abs(scale), abs(register.scale), rel_tol=1e-6):
        yield f"scale {scale:g}"
    elif load_sources()[fact.project].has_directions and scale * register.scale < 0 and _has_direction(register):
        yield _OTHER_DIRECTION
    if not math.isclose(fact.value_offset, register.value_offset, abs_tol=1e-9):
        yield f"value_offset {fact.value_offset:g}"
    if fact.scale_register != register.scale_register:
        yield f"scale register {fact.scale_register}"
