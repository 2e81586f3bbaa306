"""Check rows of `meter_types`, the settings for requests to the meters of a type (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emm_pipeline.config_db import values
from emm_pipeline.config_db.validation.row_reader import RowReader
from emm_pipeline.config_db.values import shown
from emm_pipeline.fleet import MAX_REGISTERS_PER_REQUEST, MeterType

if TYPE_CHECKING:
    from collections.abc import Iterable

    from emm_pipeline.config_db.validation.row_reader import Row
    from emm_pipeline.fleet import ConfigurationIssue

MAX_GAP = MAX_REGISTERS_PER_REQUEST - 1
MAX_TIMEOUT_S = 60
MAX_REQUEST_PAUSE_S = 10
MAX_CONNECT_PAUSE_S = 30
MAX_REOPEN_PAUSE_S = 60
REGISTER_BYTES = (2, 4)


def check_types(rows: Iterable[Row], issues: list[ConfigurationIssue]) -> dict[str, MeterType]:
    """Return each type with its settings, without its registers; an invalid setting keeps its default."""
    types: dict[str, MeterType] = {}
    for row in sorted(rows, key=repr):
        reader = RowReader("meter_types", f"type {shown(row.get('type'))}", row)
        name = reader.read("type", values.name)
        if name in types:
            reader.report("type", "occurs more than once; the first of the rows is used")
        elif name is not None:
            types[name] = _check_type(name, reader)
        issues += reader.issues
    return types


def _check_type(name: str, reader: RowReader) -> MeterType:
    default = MeterType(name)
    return MeterType(
        name,
        max_registers_per_request=reader.read_or(
            default.max_registers_per_request,
            "max_registers_per_request",
            *(values.integer, 1, MAX_REGISTERS_PER_REQUEST),
        ),
        max_gap=reader.read_or(default.max_gap, "max_gap", values.integer, 0, MAX_GAP),
        timeout_s=reader.read_or(default.timeout_s, "timeout_s", values.positive, MAX_TIMEOUT_S),
        request_pause_s=reader.read_or(default.request_pause_s, "request_pause_s", values.real, 0, MAX_REQUEST_PAUSE_S),
        connect_pause_s=reader.read_or(default.connect_pause_s, "connect_pause_s", values.real, 0, MAX_CONNECT_PAUSE_S),
        keep_connection=reader.read_or(default.keep_connection, "keep_connection", values.flag),
        reopen_pause_s=reader.read_or(default.reopen_pause_s, "reopen_pause_s", values.real, 0, MAX_REOPEN_PAUSE_S),
        register_bytes=reader.read_or(default.register_bytes, "register_bytes", values.one_of, REGISTER_BYTES),
    )
