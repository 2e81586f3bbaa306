"""The fleet: frozen records for meters, and for the registers and sums of each meter type."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from emm_pipeline.registers import (
    FLOATS,
    HIGHEST_ADDRESS,
    MAX_REGISTERS_PER_REQUEST,
    REGISTER_FUNCTIONS,
    REGISTER_SPACE,
    WORD_BYTES,
    CombinedMeasurement,
    DataType,
    FunctionCode,
    Order,
    Part,
    Register,
    scale_factor,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "FLOATS",
    "HIGHEST_ADDRESS",
    "MAX_REGISTERS_PER_REQUEST",
    "REGISTER_FUNCTIONS",
    "REGISTER_SPACE",
    "WORD_BYTES",
    "CombinedMeasurement",
    "ConfigurationIssue",
    "DataType",
    "EnergyMeter",
    "Fleet",
    "FunctionCode",
    "GatewayAddress",
    "MeterType",
    "Order",
    "Part",
    "Register",
    "TransportKind",
    "model_header",
    "model_id",
    "model_key",
    "model_name",
    "scale_factor",
]


@dataclass(frozen=True)  # not slots: cached properties need a dictionary
class MeterType:
    """The registers of all meters of one type, and the settings for requests to them.

    The tuples that are derived from the registers are created once.

    `max_gap` is the maximum number of unwanted registers that are read to save a request; docs/architecture.md explains
    the default.
    """

    name: str
    registers: tuple[Register, ...] = ()
    max_registers_per_request: int = MAX_REGISTERS_PER_REQUEST
    max_gap: int = 20
    timeout_s: float = 3.0
    request_pause_s: float = 0.0
    connect_pause_s: float = 0.0
    """Seconds between opening a connection and its first request."""
    keep_connection: bool | None = None
    """Whether the connection stays open between the sample times of a run; None: if they are at most 10 s apart."""
    reopen_pause_s: float = 0.0
    """Seconds at least between closing a connection and opening the next one."""
    models: tuple[tuple[int, int], ...] = ()
    """The places of a device's SunSpec models: `model_key`, and the address of the model's first register."""
    register_bytes: int = WORD_BYTES
    """Bytes that a register holds: 2, or 4."""
    unusable: tuple[tuple[str, str], ...] = ()
    """Rows that cannot be used, with the reasons."""
    combined: tuple[CombinedMeasurement, ...] = ()

    @cached_property
    def measured(self) -> tuple[Register, ...]:
        """The registers that are read at each poll."""
        return tuple(register for register in self.registers if register.data_type is not DataType.STRING)

    @cached_property
    def labels(self) -> tuple[Register, ...]:
        """The registers that hold texts about the meter, read once a day."""
        return tuple(register for register in self.registers if register.data_type is DataType.STRING)

    @cached_property
    def stored_series(self) -> tuple[tuple[str, str | None], ...]:
        """The names and units of the measurements that a poll stores: measured values, then sums."""
        stored = [(each.measurement_name, each.data_unit) for each in self.measured if each.stored]
        return (*stored, *((each.measurement_name, each.data_unit) for each in self.combined))

    @cached_property
    def asked(self) -> tuple[Register, ...]:
        """All registers that a poll reads: the measured ones, their companions, and those that identify models."""
        companions = {
            (each.function_code, each.register_address, each.data_type, each.byte_order): each
            for register in self.measured
            for each in register.companions
        }
        return (
            *self.measured,
            *companions.values(),
            *(model_header(model, address) for model, address in self.models),
        )


_COPY = 65536


def model_key(model: int, copy: int = 1) -> int:
    """The key of a SunSpec model of a device: its id, plus 65536 for each earlier model with this id."""
    return model + (copy - 1) * _COPY


def model_id(key: int) -> int:
    """The SunSpec id of a model."""
    return key % _COPY


def model_name(key: int) -> str:
    """Return the name of a model in messages: `203`, or `203 (copy 2)`."""
    copy, model = divmod(key, _COPY)
    return f"{model} (copy {copy + 1})" if copy else str(model)


def model_header(model: int, address: int) -> Register:
    """The two registers with which a SunSpec model begins: they hold its id and its length."""
    name = f"model {model_name(model)}"
    return Register(address, name, None, DataType.UINT32, FunctionCode.READ_HOLDING_REGISTERS)


class TransportKind(StrEnum):
    """The transport to a gateway."""

    TCP = "tcp"
    """Modbus TCP."""
    RTU = "rtu"
    """RTU frames over TCP, as transparent converters of serial lines carry them."""
    UDP = "udp"
    """Modbus TCP's frames as datagrams."""
    SERIAL = "serial"
    """RTU frames over a serial line of this machine."""


DEFAULT_SERIAL_SETTINGS = "9600 8N1"
SERIAL_PORT = 1
"""The column `port` of a meter on a serial line."""


class GatewayAddress(NamedTuple):
    """The endpoint of a gateway, and its transport.

    For a serial line, `host` is the path of the device, and `serial_settings` are its settings, such as `9600 8N1`.
    """

    host: str
    port: int
    transport: TransportKind = TransportKind.TCP
    serial_settings: str = ""

    @property
    def name(self) -> str:
        """The name used in messages, such as `tcp 10.0.0.5:502`."""
        return f"{self.transport} {self}"

    @property
    def short_name(self) -> str:
        """The name without the transport, if that is Modbus TCP."""
        return str(self) if self.transport is TransportKind.TCP else self.name

    def __str__(self) -> str:
        return self.host if self.transport is TransportKind.SERIAL else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class EnergyMeter:
    """A device behind `host:port` with the Modbus unit id `unit_id` (the database's `slave_address`)."""

    id: int
    host: str
    port: int
    unit_id: int
    type: str
    description: str | None = None
    transport: TransportKind = TransportKind.TCP
    serial_settings: str = ""
    factor: float = 1.0
    """Factor of the registers that use it: the transformers' ratio, negative if mounted backwards."""
    may_be_off: bool = False
    """Whether it may be silent without failing."""

    @property
    def gateway(self) -> GatewayAddress:
        """The gateway that the meter is behind."""
        return GatewayAddress(self.host, self.port, self.transport, self.serial_settings)

    @property
    def address(self) -> str:
        """`host:port` of the gateway; for a serial line, the path of the device."""
        return str(self.gateway)

    def __str__(self) -> str:
        name = f"meter {self.id}" + (f" ({self.description})" if self.description else "")
        return f"{name} at {self.address} unit {self.unit_id}"


@dataclass(frozen=True, slots=True)
class ConfigurationIssue:
    """An invalid row of the configuration, with the column and the reason.

    `meter_id` is set if the issue prevents a meter from being polled.
    """

    table: str
    row: str
    column: str
    reason: str
    meter_id: int | None = None

    def __str__(self) -> str:
        return f"{self.table}, {self.row}: {self.column} {self.reason}"


@dataclass(frozen=True, slots=True)
class Fleet:
    """The checked content of the configuration database.

    `meters` are enabled, valid, and of a type in `types` that has at least one valid register.
    """

    meters: tuple[EnergyMeter, ...] = ()
    types: Mapping[str, MeterType] = field(default_factory=dict)
    issues: tuple[ConfigurationIssue, ...] = ()

    @property
    def ids(self) -> set[int]:
        """The ids of all enabled meters, whether they can be polled or not."""
        return {meter.id for meter in self.meters} | set(self.misconfigured)

    @property
    def misconfigured(self) -> dict[int, ConfigurationIssue]:
        """The first issue of each enabled meter that cannot be polled, by meter id."""
        return {issue.meter_id: issue for issue in reversed(self.issues) if issue.meter_id is not None}
