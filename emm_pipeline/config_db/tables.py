"""The tables of the configuration database after `emm db upgrade`.

The migrations create the tables and columns; a test compares them with these definitions. The CHECK constraints are
applied by `schema`, because invalid old rows may prevent that at first.

The first columns of `energy_meters` and `registers`, their order and their codes are fixed, because people have scripts
and `INSERT ... VALUES` lines for them. Further columns come after them, and are nullable or have a default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Double,
    Integer,
    Numeric,
    Table,
    Text,
    Time,
    text,
)

from emm_pipeline.config_db.state_tables import (
    alert_lines,
    alerts,
    energy_begin,
    energy_open,
    energy_recomputations,
    given_registers,
    metadata,
    meter_labels,
    meter_status,
    model_addresses,
    refused_registers,
    used_meter_ids,
)
from emm_pipeline.config_db.web_tables import web_accounts, web_changes, web_tokens
from emm_pipeline.fleet import HIGHEST_ADDRESS, REGISTER_SPACE, DataType, FunctionCode, Order, TransportKind
from emm_pipeline.registers import HIGHEST_COPY

if TYPE_CHECKING:
    from collections.abc import Iterable


__all__ = [
    "alert_lines",
    "alerts",
    "combined_measurements",
    "energy_begin",
    "energy_meters",
    "energy_open",
    "energy_recomputations",
    "given_registers",
    "installed_types",
    "metadata",
    "meter_labels",
    "meter_status",
    "meter_types",
    "model_addresses",
    "refused_registers",
    "registers",
    "tariffs",
    "used_meter_ids",
    "web_accounts",
    "web_changes",
    "web_tokens",
]


def _check(name: str, condition: str) -> CheckConstraint:
    return CheckConstraint(condition, name=name)


def _finite(column: str) -> str:
    return f"{column} NOT IN ('NaN', 'Infinity', '-Infinity')"


def _codes(codes: Iterable[int]) -> str:
    return ", ".join(str(int(code)) for code in codes)


def _texts(values: Iterable[str]) -> str:
    return ", ".join(f"'{value}'" for value in values)


_REGISTERS_TAKEN = "CASE {} WHEN data_type = {:d} THEN coalesce(length, 1) ELSE 1 END".format(
    " ".join(
        f"WHEN data_type IN ({_codes(each for each in DataType if each.count == count)}) THEN {count}"
        for count in sorted({each.count for each in DataType} - {1})
    ),
    DataType.STRING,
)
"""SQL expression for the number of registers that a value takes."""

energy_meters = Table(
    "energy_meters",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("host", Text),
    Column("port", Integer),
    Column("slave_address", Integer),
    Column("type", Text),
    Column("description", Text),
    Column("enabled", Boolean, nullable=False, server_default=text("true")),
    Column("transport", Text, server_default=text("'tcp'")),
    Column("serial_settings", Text),
    Column("factor", Double, server_default=text("1")),
    Column("may_be_off", Boolean, server_default=text("false")),
    Column("max_power_w", Double),
    Column("tariff", Text),
    _check("energy_meters_id", "id IS NOT NULL"),
    _check("energy_meters_host", "host IS NOT NULL AND btrim(host) <> ''"),
    _check("energy_meters_port", "port IS NOT NULL AND port BETWEEN 1 AND 65535"),
    _check("energy_meters_slave_address", "slave_address IS NOT NULL AND slave_address BETWEEN 0 AND 255"),
    _check("energy_meters_type", "type IS NOT NULL AND btrim(type) <> ''"),
    _check("energy_meters_transport", f"transport IN ({_texts(TransportKind)})"),
    _check("energy_meters_serial_settings", "serial_settings ~ '^[1-9][0-9]{2,6} [78][NEO][12]$'"),
    _check("energy_meters_serial", "transport <> 'serial' OR port = 1"),
    _check("energy_meters_factor", f"factor <> 0 AND {_finite('factor')}"),
    _check("energy_meters_max_power_w", f"max_power_w > 0 AND {_finite('max_power_w')}"),
)
"""The devices. `slave_address` is the Modbus unit id; `type` names rows of `registers`; null for `transport` is tcp.
`factor` multiplies the values of registers with `uses_factor`; a meter that `may_be_off` does not fail by silence.
`max_power_w` is the most that can flow through it, and `tariff` names rows of `tariffs`."""

registers = Table(
    "registers",
    metadata,
    Column("type", Text),
    Column("register_address", Integer),
    Column("measurement_name", Text),
    Column("data_unit", Text),
    Column("data_type", Integer),
    Column("function_code", Integer),
    Column("word_order", Integer),
    Column("byte_order", Integer),
    Column("scale", Double, server_default=text("1")),
    Column("invalid_value", Numeric),
    Column("scale_register", Integer),
    Column("model", Integer),
    Column("value_offset", Double, server_default=text("0")),
    Column("mask", BigInteger),
    Column("invalid_values", ARRAY(Numeric)),
    Column("absolute", Boolean, server_default=text("false")),
    Column("sign_register", Integer),
    Column("sign_mask", Integer),
    Column("model_copy", Integer, server_default=text("1")),
    Column("high_register_address", Integer),
    Column("length", Integer),
    Column("uses_factor", Boolean, server_default=text("false")),
    Column("stored", Boolean, server_default=text("true")),
    _check("registers_type", "type IS NOT NULL AND btrim(type) <> ''"),
    _check(
        "registers_register_address",
        f"register_address IS NOT NULL AND register_address BETWEEN 0 AND {HIGHEST_ADDRESS} AND register_address"
        f" + {_REGISTERS_TAKEN} <= {REGISTER_SPACE}",
    ),
    _check("registers_measurement_name", "measurement_name IS NOT NULL AND btrim(measurement_name) <> ''"),
    _check("registers_data_type", f"data_type IS NOT NULL AND data_type IN ({_codes(DataType)})"),
    _check("registers_function_code", f"function_code IS NOT NULL AND function_code IN ({_codes(FunctionCode)})"),
    _check("registers_word_order", f"word_order IS NOT NULL AND word_order IN ({_codes(Order)})"),
    _check("registers_byte_order", f"byte_order IS NOT NULL AND byte_order IN ({_codes(Order)})"),
    _check("registers_bits", f"function_code NOT IN (1, 2) OR data_type = {DataType.BOOL:d}"),
    _check("registers_scale", f"scale <> 0 AND {_finite('scale')}"),
    _check("registers_invalid_value", _finite("invalid_value")),
    _check("registers_scale_register", f"scale_register BETWEEN 0 AND {HIGHEST_ADDRESS}"),
    _check("registers_model", "model IS NULL OR (model BETWEEN 1 AND 65534 AND function_code = 3)"),
    _check("registers_value_offset", _finite("value_offset")),
    _check("registers_mask", "mask > 0"),
    _check("registers_invalid_values", "NOT invalid_values && ARRAY['NaN', 'Infinity', '-Infinity']::numeric[]"),
    _check("registers_sign_register", f"sign_register BETWEEN 0 AND {HIGHEST_ADDRESS}"),
    _check("registers_sign_mask", "(sign_mask IS NULL) = (sign_register IS NULL) AND sign_mask BETWEEN 1 AND 65535"),
    _check("registers_model_copy", f"model_copy BETWEEN 1 AND {HIGHEST_COPY}"),
    _check("registers_high_register_address", f"high_register_address BETWEEN 0 AND {HIGHEST_ADDRESS}"),
    _check("registers_length", f"(length IS NULL) = (data_type <> {DataType.STRING:d}) AND length BETWEEN 1 AND 125"),
)
"""The measurements of each meter type. `fleet.DataType`, `FunctionCode` and `Order` explain the codes."""

meter_types = Table(
    "meter_types",
    metadata,
    Column("type", Text, primary_key=True),
    Column("max_registers_per_request", Integer),
    Column("max_gap", Integer),
    Column("timeout_s", Double),
    Column("request_pause_s", Double),
    Column("connect_pause_s", Double),
    Column("keep_connection", Boolean),
    Column("reopen_pause_s", Double),
    Column("register_bytes", Integer),
    _check("meter_types_type", "btrim(type) <> ''"),
    _check("meter_types_max_registers_per_request", "max_registers_per_request BETWEEN 1 AND 125"),
    _check("meter_types_max_gap", "max_gap BETWEEN 0 AND 124"),
    _check("meter_types_timeout_s", "timeout_s > 0 AND timeout_s <= 60"),
    _check("meter_types_request_pause_s", "request_pause_s BETWEEN 0 AND 10"),
    _check("meter_types_connect_pause_s", "connect_pause_s BETWEEN 0 AND 30"),
    _check("meter_types_reopen_pause_s", "reopen_pause_s BETWEEN 0 AND 60"),
    _check("meter_types_register_bytes", "register_bytes IN (2, 4)"),
)
"""Settings for requests to the meters of a type; optional. Null means the default of `fleet.MeterType`."""

combined_measurements = Table(
    "combined_measurements",
    metadata,
    Column("type", Text),
    Column("measurement_name", Text),
    Column("data_unit", Text),
    Column("part", Text),
    Column("factor", Double, server_default=text("1")),
    Column("optional", Boolean, server_default=text("false")),
    _check("combined_measurements_type", "type IS NOT NULL AND btrim(type) <> ''"),
    _check("combined_measurements_measurement_name", "measurement_name IS NOT NULL AND btrim(measurement_name) <> ''"),
    _check("combined_measurements_part", "part IS NOT NULL AND btrim(part) <> ''"),
    _check("combined_measurements_factor", f"factor <> 0 AND {_finite('factor')}"),
)
"""Measurements that are sums: a row for each part, the name of a measurement of the same type."""

tariffs = Table(
    "tariffs",
    metadata,
    Column("name", Text),
    Column("valid_from", Date),
    Column("weekdays", Text, server_default=text("'1-7'")),
    Column("from_time", Time, server_default=text("'00:00'")),
    Column("to_time", Time, server_default=text("'00:00'")),
    Column("price_per_kwh", Numeric),
    Column("base_price_per_month", Numeric, server_default=text("0")),
    Column("currency", Text, server_default=text("'EUR'")),
    Column("export_price", Numeric, server_default=text("0")),
    _check("tariffs_name", "name IS NOT NULL AND btrim(name) <> ''"),
    _check("tariffs_valid_from", "valid_from IS NOT NULL"),
    _check("tariffs_weekdays", "weekdays ~ '^[1-7](-[1-7])?(,[1-7](-[1-7])?)*$'"),
    _check("tariffs_price_per_kwh", f"price_per_kwh IS NOT NULL AND {_finite('price_per_kwh')}"),
    _check("tariffs_base_price_per_month", _finite("base_price_per_month")),
    _check("tariffs_currency", "btrim(currency) <> ''"),
    _check("tariffs_export_price", _finite("export_price")),
)
"""Prices of energy. The rows of a tariff with the same `valid_from` are one price list. `weekdays` count from 1,
Monday; a time that ends when it begins, or before, ends on the next day. Prices are in `currency`, per kWh and per
month."""

installed_types = Table(
    "installed_types",
    metadata,
    Column("type", Text, primary_key=True),
    Column("content", Text, nullable=False),
    Column("installed_at", DateTime(timezone=True), nullable=False),
)
"""The rows that `emm types install` wrote for each type, as JSON: rows that differ were edited by a person."""
