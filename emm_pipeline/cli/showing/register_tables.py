"""Print a type's registers, and the registers that a change adds, changes and removes, as tables."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from emm_pipeline.cli.output import say
from emm_pipeline.cli.showing.tables import print_table
from emm_pipeline.commissioning.interpreting import LAYOUTS
from emm_pipeline.config_db.editing.register_rows import (
    NEEDED_COLUMNS,
    REGISTER_COLUMNS,
    RegisterRow,
    register_row,
    series_of,
)
from emm_pipeline.fleet import DataType, Order, Register

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from emm_pipeline.config_db.editing.register_rows import CombinedRow
    from emm_pipeline.fleet import CombinedMeasurement, MeterType

_ORDERS = {(layout.word_order, layout.byte_order): layout.name for layout in LAYOUTS}

CHANGES_SHOWN = 60


def print_registers(meter_type: MeterType) -> None:
    """Print a type's registers, one per line."""
    headers = ["address", "fc", "measurement", "unit", "data type", "order", "scale", "no reading"]
    if any(_further(register) for register in meter_type.registers):
        headers.append("further")
    rows = [
        (
            *(register.register_address, int(register.function_code), register.measurement_name, register.data_unit),
            *(register.data_type.name, _order(register)),
            *(f"{register.scale:g}" if register.scale != 1 else "", _no_reading(register), _further(register)),
        )[: len(headers)]
        for register in meter_type.registers
    ]
    print_table(headers, rows, right=("address", "fc", "scale"), below=("further", "no reading"))


def _no_reading(register: Register) -> str:
    values = [register.invalid_value, *register.invalid_values]
    return ", ".join(str(value) for value in values if value is not None)


_SHOWN_ALREADY = {*NEEDED_COLUMNS, "scale", "invalid_value", "invalid_values", "register_bytes"}


def _further(register: Register) -> str:
    """Return the columns that are in use, but are not columns of the printed table."""
    used = [
        (field.name, getattr(register, field.name))
        for field in fields(Register)
        if field.name not in _SHOWN_ALREADY and getattr(register, field.name) != field.default
    ]
    return ", ".join(f"{name} {str(value).lower() if isinstance(value, bool) else value}" for name, value in used)


def combined_line(combined: CombinedMeasurement) -> str:
    """Return a sum as people write it."""
    terms = [
        f"{'-' if part.factor < 0 else '+'} {'' if abs(part.factor) == 1 else f'{abs(part.factor):g} * '}"
        f"{part.measurement_name}{' (optional)' if part.optional else ''}"
        for part in combined.parts
    ]
    unit = f" {combined.data_unit}" if combined.data_unit else ""
    return f"{combined.measurement_name}{unit} = {' '.join(terms).removeprefix('+ ')}"


def combined_changes(after: Collection[CombinedRow], before: Collection[CombinedRow]) -> list[str]:
    """Return the parts of sums that are added (+) and removed (-)."""
    changes = [("+", row) for row in after if row not in before] + [("-", row) for row in before if row not in after]
    return [
        f"{sign} combined {row[1]} {row[2] or ''}: {row[4]} * {row[3]}{' (optional)' if row[5] else ''}"
        for sign, row in sorted(changes, key=str)
    ]


def _order(register: Register) -> str:
    """Return the name of the value's byte order, such as `ABCD`; a 16-bit value has only two bytes."""
    letters = _ORDERS[register.word_order, register.byte_order]
    if register.count == 1:
        return "AB" if register.byte_order is Order.BIG_ENDIAN else "BA"
    return letters


def registers_as_json(meter_type: MeterType) -> list[dict[str, Any]]:
    """Return a type's registers as records with the columns of the table `registers`."""
    rows = (register_row(meter_type.name, register) for register in meter_type.registers)
    return [dict(zip(REGISTER_COLUMNS, row, strict=True)) for row in rows]


def print_changes(add: Sequence[RegisterRow], remove: Sequence[RegisterRow]) -> None:
    """Print the rows that are added (+), removed (-) or changed (~, before and after)."""
    before = {series_of(row): row for row in remove}
    coming = {series_of(row) for row in add}
    lines = [("~" if series_of(row) in before else "+", row, before.get(series_of(row))) for row in add]
    lines += [("-", row, None) for row in remove if series_of(row) not in coming]
    shown = [
        (sign, row[2], row[3], row[5], row[1], _type_name(row[4]), _differences(old, row)) for sign, row, old in lines
    ]
    headers = ("", "measurement", "unit", "fc", "address", "data type", "before")
    print_table(headers, shown[:CHANGES_SHOWN], right=("fc", "address"), below=("before",))
    if len(shown) > CHANGES_SHOWN:
        say(f"and {len(shown) - CHANGES_SHOWN} more")


def _type_name(code: object) -> str:
    return DataType(code).name if isinstance(code, int) and code in {*DataType} else str(code)


def _differences(before: RegisterRow | None, after: RegisterRow) -> str:
    if before is None:
        return ""
    pairs = zip(REGISTER_COLUMNS, before, after, strict=True)
    return ", ".join(f"{column} {old}" for column, old, new in pairs if old != new)
