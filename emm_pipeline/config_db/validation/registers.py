"""Check rows of `registers`, the measurements of each type (pure)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from emm_pipeline.config_db import values
from emm_pipeline.config_db.validation.register_rules import check_together
from emm_pipeline.config_db.validation.row_reader import RowReader
from emm_pipeline.config_db.values import shown
from emm_pipeline.fleet import MAX_REGISTERS_PER_REQUEST, DataType, FunctionCode, MeterType, Order, Register
from emm_pipeline.registers import HIGHEST_COPY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from emm_pipeline.config_db.validation.row_reader import Row
    from emm_pipeline.fleet import ConfigurationIssue

HIGHEST_MODEL = 65534
"""Largest id of a SunSpec model; 65535 marks the end of a device's list of models."""

HIGHEST_MASK = 2**63 - 1
HIGHEST_SIGN_MASK = 0xFFFF


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
        value_offset=reader.read_or(0.0, "value_offset", values.finite),
        mask=reader.read_or(None, "mask", values.integer, 1, HIGHEST_MASK),
        invalid_values=reader.read_or((), "invalid_values", values.raw_values),
        absolute=reader.read_or(False, "absolute", values.flag),
        sign_register=reader.read_or(None, "sign_register", values.register_address),
        sign_mask=reader.read_or(None, "sign_mask", values.integer, 1, HIGHEST_SIGN_MASK),
        model_copy=reader.read_or(1, "model_copy", values.integer, 1, HIGHEST_COPY),
        high_register_address=reader.read_or(None, "high_register_address", values.register_address),
        length=reader.read_or(None, "length", values.integer, 1, MAX_REGISTERS_PER_REQUEST),
        uses_factor=reader.read_or(False, "uses_factor", values.flag),
        stored=reader.read_or(True, "stored", values.flag),
        register_bytes=meter_type.register_bytes,
    )
    if not reader.issues:
        check_together(register, meter_type, reader)
    return None if reader.issues else register


def _without_repetitions(
    registers: list[tuple[Register, RowReader]], issues: list[ConfigurationIssue]
) -> tuple[Register, ...]:
    """Return registers in the order of their addresses, and only the first for each measurement and unit.

    Two registers with the same measurement and unit would overwrite each other's points in the readings store.
    """
    used: dict[tuple[str, str, int | None, int], Register] = {}
    for register, reader in sorted(registers, key=lambda pair: _register_order(pair[0])):
        # Of several models with the same measurement, a device has one.
        series = register.measurement_name, register.data_unit or "", register.model, register.model_copy
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
