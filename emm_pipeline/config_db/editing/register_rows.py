"""Rows of `registers`, `combined_measurements` and `meter_types` as records that can be compared (pure).

Two rows describe the same series if their type, measurement name, unit and model are equal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from emm_pipeline.fleet import MeterType, Register

if TYPE_CHECKING:
    from collections.abc import Mapping

REGISTER_COLUMNS = ("type", *(field.name for field in fields(Register) if field.name != "register_bytes"))
"""The columns of `registers`, in the table's order."""

NEEDED_COLUMNS = REGISTER_COLUMNS[:8]
"""The columns that a table or a file must have."""

TEXT_COLUMNS = ("type", "measurement_name", "data_unit")
"""The columns that do not hold numbers."""

OFTEN_USED = REGISTER_COLUMNS[:12]
"""The columns that every file has; a file has a further one only if one of its rows uses it."""

DEFAULTS: dict[str, Any] = {
    "scale": 1,
    "value_offset": 0,
    "invalid_values": (),
    "absolute": False,
    "model_copy": 1,
    "uses_factor": False,
    "stored": True,
}
"""The meaning of null, or of a missing column."""

COMBINED_COLUMNS = ("type", "measurement_name", "data_unit", "part", "factor", "optional")
"""The columns of `combined_measurements`, in the table's order."""

SETTING_COLUMNS = (
    *("max_registers_per_request", "max_gap", "timeout_s", "request_pause_s"),
    *("connect_pause_s", "keep_connection", "reopen_pause_s", "register_bytes"),
)
"""The columns of `meter_types` after the type's name: settings for requests to its meters."""

Series = tuple[str, str, str, int | None, int]
"""Type, measurement name, unit, model, and copy of the model."""

RegisterRow = tuple[Any, ...]
"""Values in the order of REGISTER_COLUMNS, comparable: numbers exact, whole ones int, DEFAULTS where there are none."""

CombinedRow = tuple[Any, ...]
"""Values in the order of COMBINED_COLUMNS, comparable in the same way."""


@dataclass(frozen=True, slots=True)
class TypeRows:
    """The rows of a type in the database: its registers, its row of `meter_types` (or None), and its sums."""

    registers: frozenset[RegisterRow] = frozenset()
    settings: tuple[Any, ...] | None = None
    combined: frozenset[CombinedRow] = frozenset()


def register_row(type_name: str, register: Register) -> RegisterRow:
    """Return the row of a register of the fleet."""
    values = {name: getattr(register, name) for name in REGISTER_COLUMNS[1:]}
    return comparable({"type": type_name, **values})


def settings_row(meter_type: MeterType, default: MeterType) -> tuple[Any, ...] | None:
    """Return the row of `meter_types` with the settings that differ from the default; None if all are equal."""
    values = [(getattr(meter_type, name), getattr(default, name)) for name in SETTING_COLUMNS]
    row = tuple(value if value != usual else None for value, usual in values)
    return row if any(value is not None for value in row) else None


def comparable(row: Mapping[str, Any]) -> RegisterRow:
    """Return a row of the table, which may lack columns, as a record that compares equal to records of equal rows."""
    return tuple(_comparable(row.get(name), DEFAULTS.get(name)) for name in REGISTER_COLUMNS)


def _comparable(value: Any, default: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(sorted(map(comparable_number, value)))
    return comparable_number(default if value is None else value)


def combined_rows(meter_type: MeterType) -> frozenset[CombinedRow]:
    """Return the rows of a type's sums."""
    return frozenset(
        comparable_combined(
            {
                "type": meter_type.name,
                "measurement_name": combined.measurement_name,
                "data_unit": combined.data_unit,
                "part": part.measurement_name,
                "factor": part.factor,
                "optional": part.optional,
            }
        )
        for combined in meter_type.combined
        for part in combined.parts
    )


def comparable_combined(row: Mapping[str, Any]) -> CombinedRow:
    """Return a row of `combined_measurements` in a form in which equal rows compare equal."""
    defaults = {"factor": 1, "optional": False}
    return tuple(_comparable(row.get(name), defaults.get(name)) for name in COMBINED_COLUMNS)


def series_of(row: RegisterRow) -> Series:
    """Return the series that a row describes; surrounding spaces are ignored, as when rows are read."""
    type_name, _, name, unit = row[:4]
    return str(type_name).strip(), str(name).strip(), str(unit or "").strip(), row[_MODEL], row[_COPY]


def place_of(row: RegisterRow) -> tuple[str, str, int, str]:
    """Return the key by which rows are sorted for people: type, function code, address."""
    address = row[1] if isinstance(row[1], int) else -1
    return str(row[0]), str(row[5]), address, str(row)


_BEYOND_INTEGERS = 2**64
_MODEL, _COPY = REGISTER_COLUMNS.index("model"), REGISTER_COLUMNS.index("model_copy")


def comparable_number(value: Any) -> Any:
    """Return whole numbers (also IntEnum members) as int, other numbers as float, and anything else unchanged."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return value
    number: Any = value
    if number != number:  # noqa: PLR0124 - true for NaN only, also for a decimal NaN
        return math.nan  # always the same object, so that rows that contain it are equal
    # As in `values.raw_value`: a float beyond 64 bits is not written with all its digits.
    return int(number) if abs(number) < _BEYOND_INTEGERS and int(number) == number else float(number)
