"""Rows of the configuration database, checked: what makes sense becomes the fleet, the rest becomes issues.

Pure: rows are mappings from column to value, as any database driver brings them. A row that makes no sense costs
no other row its place.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from emm_pipeline.config_db import values
from emm_pipeline.config_db.values import NonsenseError, shown
from emm_pipeline.fleet import (
    MAX_REGISTERS_PER_REQUEST,
    ConfigurationIssue,
    DataType,
    EnergyMeter,
    Fleet,
    FunctionCode,
    MeterType,
    Order,
    Register,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Row = Mapping[str, Any]

REGISTER_SPACE = 65536
"""Registers that a unit has per function code: addresses 0 to 65535."""

HIGHEST_MODEL = 65534
"""65535 ends a device's list of models."""

MAX_GAP = 124
MAX_TIMEOUT_S = 60
MAX_REQUEST_PAUSE_S = 10

_INT32 = 2**31


def check_rows(meter_rows: Iterable[Row], register_rows: Iterable[Row], type_rows: Iterable[Row]) -> Fleet:
    """Check all rows and build the fleet of those that make sense.

    Args:
        meter_rows: Of `energy_meters`. Columns beyond the first six may be absent.
        register_rows: Of `registers`. Columns beyond the first eight may be absent.
        type_rows: Of `meter_types`.

    Returns:
        The fleet: meters by id, registers by function code and address. Neither it nor the order of its
        issues depends on the order of the rows. Disabled meters are in neither.
    """
    issues: list[ConfigurationIssue] = []
    types = _check_registers(register_rows, _check_types(type_rows, issues), issues)
    meters = _check_meters(meter_rows, types, issues)
    return Fleet(tuple(meters), types, tuple(sorted(issues, key=_issue_order)))


def _issue_order(issue: ConfigurationIssue) -> tuple[str, bool, int, str, str, str]:
    meter_id = issue.meter_id
    return issue.table, meter_id is None, meter_id or 0, issue.row, issue.column, issue.reason


class _RowReader:
    """Reads one row column by column; what makes no sense becomes an issue."""

    def __init__(self, table: str, name: str, row: Row, meter_id: int | None = None) -> None:
        self.issues: list[ConfigurationIssue] = []
        self.remarks: list[ConfigurationIssue] = []
        self._issue = ConfigurationIssue(table, name, "", "", meter_id)
        self._row = row

    def read(self, column: str, convert: Callable[..., Any], *limits: Any) -> Any:
        """The column's value, converted. Of use only while there are no issues."""
        try:
            return convert(self._row.get(column), *limits)
        except NonsenseError as err:
            self.report(column, str(err))
            return None

    def read_or(self, default: Any, column: str, convert: Callable[..., Any], *limits: Any) -> Any:
        """The column's value, converted; `default` where it is null, absent, or makes no sense."""
        if self._row.get(column) is None:
            return default
        value = self.read(column, convert, *limits)
        return default if value is None else value

    def read_if_possible(self, column: str, convert: Callable[..., Any]) -> Any:
        """The column's value, converted; where it makes no sense a remark and None, which costs the row nothing."""
        try:
            return None if self._row.get(column) is None else convert(self._row[column])
        except NonsenseError as err:
            self.remarks.append(replace(self._issue, column=column, reason=f"{err}; left out", meter_id=None))
            return None

    def report(self, column: str, reason: str) -> None:
        """Add an issue on this row."""
        self.issues.append(replace(self._issue, column=column, reason=reason))


def _check_types(rows: Iterable[Row], issues: list[ConfigurationIssue]) -> dict[str, MeterType]:
    """How each type wants to be asked, without its registers; the default takes the place of nonsense."""
    types: dict[str, MeterType] = {}
    for row in sorted(rows, key=repr):
        reader = _RowReader("meter_types", f"type {shown(row.get('type'))}", row)
        name = reader.read("type", values.name)
        if name in types:
            reader.report("type", "is there more than once; the first of the rows is used")
        elif name is not None:
            default = MeterType(name)
            types[name] = MeterType(
                name,
                max_registers_per_request=reader.read_or(
                    default.max_registers_per_request,
                    "max_registers_per_request",
                    *(values.integer, 1, MAX_REGISTERS_PER_REQUEST),
                ),
                max_gap=reader.read_or(default.max_gap, "max_gap", values.integer, 0, MAX_GAP),
                timeout_s=reader.read_or(default.timeout_s, "timeout_s", values.positive, MAX_TIMEOUT_S),
                request_pause_s=reader.read_or(
                    default.request_pause_s, "request_pause_s", values.real, 0, MAX_REQUEST_PAUSE_S
                ),
            )
        issues += reader.issues
    return types


def _check_registers(
    rows: Iterable[Row], types: Mapping[str, MeterType], issues: list[ConfigurationIssue]
) -> dict[str, MeterType]:
    """The types that have registers, with them."""
    found: dict[str, list[tuple[Register, _RowReader]]] = defaultdict(list)
    for row in rows:
        name = (
            f"type {shown(row.get('type'))} register_address {shown(row.get('register_address'))} "
            f"measurement_name {shown(row.get('measurement_name'))}"
        )
        reader = _RowReader("registers", name, row)
        type_name = reader.read("type", values.name)
        register = _check_register(reader, types.get(type_name, MeterType(type_name)))
        issues += reader.issues
        if register is not None:
            found[type_name].append((register, reader))
    with_registers = {}
    for type_name in sorted(found):
        registers = _without_repetitions(found[type_name], issues)
        with_registers[type_name] = replace(types.get(type_name, MeterType(type_name)), registers=registers)
    return with_registers


def _check_register(reader: _RowReader, meter_type: MeterType) -> Register | None:
    register = Register(
        register_address=reader.read("register_address", values.integer, 0, REGISTER_SPACE - 1),
        measurement_name=reader.read("measurement_name", values.measurement),
        data_unit=reader.read_or(None, "data_unit", values.label),
        data_type=reader.read("data_type", values.code, DataType),
        function_code=reader.read("function_code", values.code, FunctionCode),
        word_order=reader.read("word_order", values.code, Order),
        byte_order=reader.read("byte_order", values.code, Order),
        scale=reader.read_or(1.0, "scale", values.factor),
        invalid_value=reader.read_or(None, "invalid_value", values.raw_value),
        scale_register=reader.read_or(None, "scale_register", values.integer, 0, REGISTER_SPACE - 1),
        model=reader.read_or(None, "model", values.integer, 1, HIGHEST_MODEL),
    )
    if reader.issues:
        return None
    limit = meter_type.max_registers_per_request
    if register.end > REGISTER_SPACE:
        reader.report(
            "register_address",
            f"is {register.register_address}, and {register.data_type.name} takes {register.count} registers: "
            f"beyond the last address, {REGISTER_SPACE - 1}",
        )
    if register.model is not None and register.function_code is not FunctionCode.READ_HOLDING_REGISTERS:
        reader.report("model", "goes with function_code 3 (READ_HOLDING_REGISTERS), where SunSpec has its models")
    if register.count > limit:
        reader.report(
            "data_type",
            f"is {register.data_type.name}, {register.count} registers, more than the type's "
            f"max_registers_per_request, {limit}",
        )
    return None if reader.issues else register


def _without_repetitions(
    registers: list[tuple[Register, _RowReader]], issues: list[ConfigurationIssue]
) -> tuple[Register, ...]:
    """Registers in the order of their addresses, each measurement and unit once: the first keeps its place.

    Two of them would be one series in the readings store, each overwriting what the other gave.
    """
    used: dict[tuple[str, str, int | None], Register] = {}
    for register, reader in sorted(registers, key=lambda pair: _register_order(pair[0])):
        # Of several models that give the same, a device has one.
        series = register.measurement_name, register.data_unit or "", register.model
        first = used.setdefault(series, register)
        if first is not register:
            reader.report(
                "measurement_name",
                f"with data_unit {shown(register.data_unit)} is there more than once; the one with function_code "
                f"{first.function_code:d} and register_address {first.register_address} is used",
            )
            issues.append(reader.issues[-1])
    return tuple(used.values())


def _register_order(register: Register) -> tuple[int, int, str]:
    return register.function_code, register.register_address, repr(register)


def _check_meters(
    rows: Iterable[Row], types: Mapping[str, MeterType], issues: list[ConfigurationIssue]
) -> list[EnergyMeter]:
    """The meters that can be polled, by id; of an id that is there more than once, none unless all are equal."""
    found: dict[int, list[EnergyMeter | None]] = defaultdict(list)
    for row in rows:
        try:
            meter_id = values.integer(row.get("id"), -_INT32, _INT32 - 1)
        except NonsenseError:
            meter_id = None
        reader = _RowReader("energy_meters", _meter_row_name(row, meter_id), row, meter_id)
        if reader.read_or(True, "enabled", values.flag):
            meter = _check_meter(reader, types)
            issues += reader.issues + reader.remarks
            if meter_id is not None:
                found[meter_id].append(meter)
    meters = []
    for meter_id, same in sorted(found.items()):
        meter = same[0]
        if any(other != meter for other in same):
            reason = f"is there {len(same)} times with different values; none of them is polled"
            issues.append(ConfigurationIssue("energy_meters", f"id {meter_id}", "id", reason, meter_id))
        elif meter is not None:
            meters.append(meter)
            if len(same) > 1:
                reason = f"is there {len(same)} times with the same values; one of them is polled"
                issues.append(ConfigurationIssue("energy_meters", f"id {meter_id}", "id", reason))
    return meters


def _meter_row_name(row: Row, meter_id: int | None) -> str:
    if meter_id is not None:
        return f"id {meter_id}"
    return f"id {shown(row.get('id'))} with host {shown(row.get('host'))}"


def _check_meter(reader: _RowReader, types: Mapping[str, MeterType]) -> EnergyMeter | None:
    meter = EnergyMeter(
        id=reader.read("id", values.integer, -_INT32, _INT32 - 1),
        host=reader.read("host", values.host),
        port=reader.read("port", values.integer, 1, 65535),
        unit_id=reader.read("slave_address", values.integer, 0, 255),
        type=reader.read("type", values.name),
        description=reader.read_if_possible("description", values.label),
    )
    if meter.type is not None and meter.type not in types:
        reader.report("type", f"is {shown(meter.type)}, of which the table registers has no valid row")
    return None if reader.issues else meter
