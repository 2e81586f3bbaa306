"""The tables of the configuration database after `emm db upgrade`.

The migrations create the tables and columns; a test compares them with these definitions. The CHECK constraints are
applied by `schema`, because invalid old rows may prevent that at first.

The first columns of `energy_meters` and `registers`, their order and their codes are fixed, because people have scripts
and `INSERT ... VALUES` lines for them. Further columns come after them, and are nullable or have a default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    Identity,
    Integer,
    MetaData,
    Numeric,
    Table,
    Text,
    text,
)

from emm_pipeline.fleet import HIGHEST_ADDRESS, REGISTER_SPACE, DataType, FunctionCode, Order, TransportKind

if TYPE_CHECKING:
    from collections.abc import Iterable

metadata = MetaData()


def _check(name: str, condition: str) -> CheckConstraint:
    return CheckConstraint(condition, name=name)


def _codes(codes: Iterable[int]) -> str:
    return ", ".join(str(int(code)) for code in codes)


def _texts(values: Iterable[str]) -> str:
    return ", ".join(f"'{value}'" for value in values)


_REGISTERS_TAKEN = "CASE {} ELSE 1 END".format(
    " ".join(
        f"WHEN data_type IN ({_codes(each for each in DataType if each.count == count)}) THEN {count}"
        for count in sorted({each.count for each in DataType} - {1})
    )
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
    _check("energy_meters_id", "id IS NOT NULL"),
    _check("energy_meters_host", "host IS NOT NULL AND btrim(host) <> ''"),
    _check("energy_meters_port", "port IS NOT NULL AND port BETWEEN 1 AND 65535"),
    _check("energy_meters_slave_address", "slave_address IS NOT NULL AND slave_address BETWEEN 0 AND 255"),
    _check("energy_meters_type", "type IS NOT NULL AND btrim(type) <> ''"),
    _check("energy_meters_transport", f"transport IN ({_texts(TransportKind)})"),
    _check("energy_meters_serial_settings", "serial_settings ~ '^[1-9][0-9]{2,6} [78][NEO][12]$'"),
    _check("energy_meters_serial", "transport <> 'serial' OR port = 1"),
)
"""The devices. `slave_address` is the Modbus unit id; `type` names rows of `registers`; null for `transport` is tcp."""

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
    _check("registers_scale", "scale <> 0 AND scale NOT IN ('NaN', 'Infinity', '-Infinity')"),
    _check("registers_invalid_value", "invalid_value NOT IN ('NaN', 'Infinity', '-Infinity')"),
    _check("registers_scale_register", f"scale_register BETWEEN 0 AND {HIGHEST_ADDRESS}"),
    _check("registers_model", "model IS NULL OR (model BETWEEN 1 AND 65534 AND function_code = 3)"),
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
    _check("meter_types_type", "btrim(type) <> ''"),
    _check("meter_types_max_registers_per_request", "max_registers_per_request BETWEEN 1 AND 125"),
    _check("meter_types_max_gap", "max_gap BETWEEN 0 AND 124"),
    _check("meter_types_timeout_s", "timeout_s > 0 AND timeout_s <= 60"),
    _check("meter_types_request_pause_s", "request_pause_s BETWEEN 0 AND 10"),
    _check("meter_types_connect_pause_s", "connect_pause_s BETWEEN 0 AND 30"),
    _check("meter_types_reopen_pause_s", "reopen_pause_s BETWEEN 0 AND 60"),
)
"""Settings for requests to the meters of a type; optional. Null means the default of `fleet.MeterType`."""

installed_types = Table(
    "installed_types",
    metadata,
    Column("type", Text, primary_key=True),
    Column("content", Text, nullable=False),
    Column("installed_at", DateTime(timezone=True), nullable=False),
)
"""The rows that `emm types install` wrote for each type, as JSON: rows that differ were edited by a person."""

meter_status = Table(
    "meter_status",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("configuration", Text),
    Column("last_read_at", DateTime(timezone=True)),
    Column("failing_since", DateTime(timezone=True)),
    Column("failures_in_a_row", Integer, nullable=False, server_default=text("0")),
    Column("reason", Text),
    Column("next_attempt_at", DateTime(timezone=True)),
    Column("recorded_at", DateTime(timezone=True)),
    Column("failed_samples", Integer, nullable=False, server_default=text("0")),
    Column("failed_samples_since", DateTime(timezone=True)),
    Column("failed_sample_reason", Text),
    Column("was_silent", Boolean, nullable=False, server_default=text("false")),
    Column("first_seen_at", DateTime(timezone=True), server_default=text("now()")),
    Column("polled_at", DateTime(timezone=True)),
    Column("silent", Boolean, nullable=False, server_default=text("false")),
    Column("asleep", Boolean, nullable=False, server_default=text("false")),
    Column("observed_at", DateTime(timezone=True)),
    Column("observed_reason", Text),
)
"""The status of each meter between runs; people may read it, only the pipeline writes it."""

refused_registers = Table(
    "refused_registers",
    metadata,
    Column("meter_id", Integer, primary_key=True, autoincrement=False),
    Column("type", Text, nullable=False),
    Column("function_code", Integer, primary_key=True, autoincrement=False),
    Column("register_address", Integer, primary_key=True, autoincrement=False),
    Column("count", Integer, primary_key=True, autoincrement=False),
    Column("exception_code", Integer, nullable=False),
    Column("refused_at", DateTime(timezone=True), nullable=False),
    Column("configuration", Text, nullable=False),
    Column("times_refused", Integer, nullable=False, server_default=text("1")),
    Column("temporary", Boolean, nullable=False, server_default=text("false")),
)
"""Registers that a meter answered with an exception, or not at all (`exception_code` 0). Polls leave them out for a
day, or until its `configuration` (the fingerprint of the meter and of its type's registers) changes; those that it gave
before, and values without a reply (`temporary`), are requested again sooner, by how often they were refused in a row
(`times_refused`). By meter, since others of its type may be newer and know more registers. Deleting rows is fine: the
meter is asked again.
"""

given_registers = Table(
    "given_registers",
    metadata,
    Column("meter_id", Integer, primary_key=True, autoincrement=False),
    Column("ranges", Text, nullable=False),
    Column("configuration", Text, nullable=False),
)
"""Which registers a meter gave at any time, as JSON: lists of function code, first address, address behind the last.
That one of these is refused is not taken for a property of the device."""

register_issues = Table(
    "register_issues",
    metadata,
    Column("meter_id", Integer, primary_key=True, autoincrement=False),
    Column("measurement_name", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("since", DateTime(timezone=True), nullable=False),
)
"""Configured registers that did not deliver what they should when their meter was last read, written by the pipeline.
`kind` is one of `status.RegisterIssueKind`. Deleting rows is fine: they come again with the next poll."""

accepted_absences = Table(
    "accepted_absences",
    metadata,
    Column("meter_id", Integer, primary_key=True, autoincrement=False),
    Column("measurement_name", Text, primary_key=True),
    Column("accepted_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
)
"""Registers that a person knows a meter not to have: `emm registers accept-absent`."""

model_addresses = Table(
    "model_addresses",
    metadata,
    Column("meter_id", Integer, primary_key=True, autoincrement=False),
    Column("addresses", Text, nullable=False),
    Column("configuration", Text, nullable=False),
    Column("found_at", DateTime(timezone=True), nullable=False),
)
"""The addresses of a meter's SunSpec models, as JSON (model id to address), so that they are not searched for at each
poll. Rows may be deleted: the models are then searched for again."""

used_meter_ids = Table(
    "used_meter_ids",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
)
"""Every id that any meter has or had. A removed meter's readings stay under its id, so no other meter gets it."""

troubles = Table(
    "troubles",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("since", DateTime(timezone=True), nullable=False),
    Column("reason", Text, nullable=False),
)
"""Alerts that were reported and are not resolved yet; an example of `subject` is "meter 5"."""

mail_lines = Table(
    "mail_lines",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("begun", Boolean, nullable=False),
    Column("line", Text, nullable=False),
    Column("channel", Text, nullable=False, server_default=text("'mail'")),
)
"""Lines of alerts that wait to be sent, oldest first; one for each channel (`alerts/channels.py`)."""
