"""Check rows of `registers`, the measurements of each type (pure)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from emm_pipeline.config_db import values
from emm_pipeline.config_db.validation.row_reader import RowReader
from emm_pipeline.config_db.values import shown
from emm_pipeline.fleet import (
    HIGHEST_ADDRESS,
    REGISTER_SPACE,
    DataType,
    FunctionCode,
    MeterType,
    Order,
    Register,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from emm_pipeline.config_db.validation.row_reader import Row
    from emm_pipeline.fleet import ConfigurationIssue

HIGHEST_MODEL = 65534
"""Largest id of a SunSpec model; 65535 marks the end of a device's list of models."""


def check_registers(
    rows: Iterable[Row], types: Mapping[str, MeterType], issues: list[ConfigurationIssue]
) -> dict[str, MeterType]:
    """Return the types that have registers, with their registers."""
    found: dict[str, list[tuple[Register, RowReader]]] = defaultdict(list)
    unusable: dict[str, list[ConfigurationIssue]] = defaultdict(list)
    for row in rows:
        name = (
            f"type {shown(row.get('type'))} register_address {shown(row.get('register_address'))} "
            f"measurement_name {shown(row.get('measurement_name'))}"
        )
        reader = RowReader("registers", name, row)
        type_name = reader.read("type", values.name)
        register = _check_register(reader, types.get(type_name, MeterType(type_name)))
        issues += reader.issues
        if register is not None:
            found[type_name].append((register, reader))
        elif type_name is not None:
            unusable[type_name] += reader.issues[:1]
    with_registers = {}
    for type_name in sorted(found):
        repeated: list[ConfigurationIssue] = []
        registers = _without_repetitions(found[type_name], repeated)
        issues += repeated
        without = sorted((_row_within_type(issue), _why(issue)) for issue in [*unusable[type_name], *repeated])
        meter_type = types.get(type_name, MeterType(type_name))
        with_registers[type_name] = replace(meter_type, registers=registers, unusable=tuple(without))
    return with_registers


def _row_within_type(issue: ConfigurationIssue) -> str:
    return "register_address" + issue.row.rpartition(" register_address")[2]


def _why(issue: ConfigurationIssue) -> str:
    return f"its row in the table {issue.table} cannot be used: {issue.column} {issue.reason}"


def _check_register(reader: RowReader, meter_type: MeterType) -> Register | None:
    register = Register(
        register_address=reader.read("register_address", values.register_address),
        measurement_name=reader.read("measurement_name", values.measurement),
        data_unit=reader.read_or(None, "data_unit", values.label),
        data_type=reader.read("data_type", values.code, DataType),
        function_code=reader.read("function_code", values.code, FunctionCode),
        word_order=reader.read("word_order", values.code, Order),
        byte_order=reader.read("byte_order", values.code, Order),
        scale=reader.read_or(1.0, "scale", values.factor),
        invalid_value=reader.read_or(None, "invalid_value", values.raw_value),
        scale_register=reader.read_or(None, "scale_register", values.register_address),
        model=reader.read_or(None, "model", values.integer, 1, HIGHEST_MODEL),
    )
    if reader.issues:
        return None
    limit = meter_type.max_registers_per_request
    if register.end > REGISTER_SPACE:
        reader.report(
            "register_address",
            f"is {register.register_address}: a {register.data_type.name} there takes {register.count} registers and "
            f"ends beyond the last address, {HIGHEST_ADDRESS}",
        )
    if register.model is not None and register.function_code is not FunctionCode.READ_HOLDING_REGISTERS:
        reader.report("model", "needs function_code 3 (READ_HOLDING_REGISTERS), the registers of SunSpec models")
    if register.count > limit:
        reader.report(
            "data_type",
            f"is {register.data_type.name}, {register.count} registers, more than the type's "
            f"max_registers_per_request, {limit}",
        )
    return None if reader.issues else register


def _without_repetitions(
    registers: list[tuple[Register, RowReader]], issues: list[ConfigurationIssue]
) -> tuple[Register, ...]:
    """Return registers in the order of their addresses, and only the first for each measurement and unit.

    Two registers with the same measurement and unit would overwrite each other's points in the readings store.
    """
    used: dict[tuple[str, str, int | None], Register] = {}
    for register, reader in sorted(registers, key=lambda pair: _register_order(pair[0])):
        # Registers of different models may have the same name: a device has only one of these models.
        series = register.measurement_name, register.data_unit or "", register.model
        first = used.setdefault(series, register)
        if first is not register:
            reader.report(
                "measurement_name",
                f"with data_unit {shown(register.data_unit)} occurs more than once; the one with function_code "
                f"{first.function_code:d} and register_address {first.register_address} is used",
            )
            issues.append(reader.issues[-1])
    return tuple(used.values())


def _register_order(register: Register) -> tuple[int, int, str]:
    return register.function_code, register.register_address, repr(register)
