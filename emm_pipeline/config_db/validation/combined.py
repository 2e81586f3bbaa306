"""Check the rows of `combined_measurements`, the sums of each type (pure).

A sum is used only if all of its rows are valid: without one of its parts, it would be another number.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from emm_pipeline.config_db import values
from emm_pipeline.config_db.validation.row_reader import RowReader
from emm_pipeline.config_db.values import shown
from emm_pipeline.fleet import CombinedMeasurement, DataType, Part

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from emm_pipeline.config_db.validation.row_reader import Row
    from emm_pipeline.fleet import ConfigurationIssue, MeterType


@dataclass(slots=True)
class _Sum:
    """The rows of one sum: its parts, and whether all of them can be used."""

    parts: list[Part] = field(default_factory=list)
    is_complete: bool = True


def check_combined(
    rows: Iterable[Row], types: Mapping[str, MeterType], issues: list[ConfigurationIssue]
) -> dict[str, MeterType]:
    """Return the types with their sums.

    Args:
        rows: The rows of `combined_measurements`; columns that the oldest versions do not have may be absent.
        types: The types that have registers.
        issues: The list to which issues are added.
    """
    sums: dict[str, dict[tuple[str, str | None], _Sum]] = defaultdict(dict)
    for row in sorted(rows, key=repr):
        _check_row(row, types, sums, issues)
    checked = dict(types)
    for type_name, of_type in sums.items():
        if type_name in types:
            combined = tuple(
                CombinedMeasurement(name, unit, tuple(found.parts))
                for (name, unit), found in sorted(of_type.items(), key=str)
                if found.is_complete and found.parts
            )
            checked[type_name] = replace(types[type_name], combined=combined)
    return checked


def _check_row(
    row: Row,
    types: Mapping[str, MeterType],
    sums: dict[str, dict[tuple[str, str | None], _Sum]],
    issues: list[ConfigurationIssue],
) -> None:
    name = f"type {shown(row.get('type'))} measurement_name {shown(row.get('measurement_name'))} part "
    reader = RowReader("combined_measurements", name + shown(row.get("part")), row)
    type_name = reader.read("type", values.name)
    measurement = reader.read("measurement_name", values.measurement)
    unit = reader.read_or(None, "data_unit", values.label) or None
    part = Part(
        reader.read("part", values.name),
        reader.read_or(1.0, "factor", values.factor),
        reader.read_or(False, "optional", values.flag),
    )
    if type_name is not None and measurement is not None:
        found = sums[type_name].setdefault((measurement, unit), _Sum())
        if not reader.issues:
            _check_part(reader, types.get(type_name), (measurement, unit), part, found)
        if reader.issues:
            found.is_complete = False
        else:
            found.parts.append(part)
    issues += reader.issues


def _check_part(
    reader: RowReader, meter_type: MeterType | None, series: tuple[str, str | None], part: Part, found: _Sum
) -> None:
    if meter_type is None:
        reader.report("type", "is one of which the table registers has no valid row")
        return
    if any(each.measurement_name == part.measurement_name for each in found.parts):
        reader.report(
            "part", f"is {shown(part.measurement_name)} a second time: use one row with the sum of the factors"
        )
    registers = [each for each in meter_type.registers if each.measurement_name == part.measurement_name]
    if not registers:
        reader.report(
            "part", f"is {shown(part.measurement_name)}, which is not a valid measurement of the type's registers"
        )
    elif any(each.data_type is DataType.STRING for each in registers):
        reader.report("part", f"is {shown(part.measurement_name)}, which is a text")
    elif len({each.data_unit for each in registers}) > 1:
        reader.report(
            "part", f"is {shown(part.measurement_name)}, which the type has in several units: rename one of them"
        )
    if any((each.measurement_name, each.data_unit) == series and each.stored for each in meter_type.registers):
        reader.report(
            "measurement_name", "with this data_unit is one of the type's registers already; rename one of them"
        )
