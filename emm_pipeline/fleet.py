"""The fleet: frozen records for meters, and for the registers of each meter type.

The integer codes are those of the configuration database (SPEC section 4) and are fixed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_REGISTERS_PER_REQUEST = 125
"""Maximum number of registers in one Modbus reply (Modbus Application Protocol 1.1b3, 6.3)."""

REGISTER_SPACE = 65536
"""Number of registers that a unit can have per function code."""

HIGHEST_ADDRESS = REGISTER_SPACE - 1


class DataType(IntEnum):
    """Encoding of a value in one or more 16-bit registers."""

    INT = 1
    LONG = 2
    FLOAT = 3
    UINT16 = 4
    UINT32 = 5
    INT64 = 6
    UINT64 = 7
    FLOAT64 = 8

    @property
    def count(self) -> int:
        """Number of registers that one value takes: 1, 2 or 4."""
        return _COUNTS[self]


_COUNTS = {
    DataType.INT: 1,
    DataType.LONG: 2,
    DataType.FLOAT: 2,
    DataType.UINT16: 1,
    DataType.UINT32: 2,
    DataType.INT64: 4,
    DataType.UINT64: 4,
    DataType.FLOAT64: 4,
}


class FunctionCode(IntEnum):
    """The Modbus functions that read registers."""

    READ_HOLDING_REGISTERS = 3
    READ_INPUT_REGISTERS = 4


class Order(IntEnum):
    """Order of the bytes in a register, or of the registers in a value."""

    LITTLE_ENDIAN = 1
    BIG_ENDIAN = 2


@dataclass(frozen=True, slots=True)
class Register:
    """One measurement of a meter type: a row of the table `registers`.

    `register_address` is zero-based, as in a request. The value is `scale * raw`, in `data_unit`; a raw value equal to
    `invalid_value` means that the device has no value. With a `scale_register`, the value is `scale * raw * 10 ** n`,
    where n is the INT in that register. With a `model`, both addresses are relative to the first register of this
    SunSpec model in the device.
    """

    register_address: int
    measurement_name: str
    data_unit: str | None
    data_type: DataType
    function_code: FunctionCode
    word_order: Order = Order.BIG_ENDIAN
    byte_order: Order = Order.BIG_ENDIAN
    scale: float = 1.0
    invalid_value: int | float | None = None
    scale_register: int | None = None
    model: int | None = None

    @property
    def count(self) -> int:
        """Number of registers that the value takes."""
        return self.data_type.count

    @property
    def end(self) -> int:
        """The address after the value's last register."""
        return self.register_address + self.count


@dataclass(frozen=True, slots=True)
class MeterType:
    """The registers of all meters of one type, and the settings for requests to them.

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
    keep_connection: bool = False
    """Whether the connection stays open between the sample times of a run."""
    reopen_pause_s: float = 0.0
    """Seconds at least between closing a connection and opening the next one."""
    models: tuple[tuple[int, int], ...] = ()
    """The SunSpec models of a device: for each, its id and the address of its first register."""
    unusable: tuple[tuple[str, str], ...] = ()  # rows that cannot be used: which, and why

    @property
    def asked(self) -> tuple[Register, ...]:
        """All registers to read from a device, including scale registers and the headers of SunSpec models."""
        scaling = {
            (r.function_code, r.scale_register, r.byte_order): r for r in self.registers if r.scale_register is not None
        }
        return (
            *self.registers,
            *(scale_factor(register) for register in scaling.values()),
            *(model_header(model, address) for model, address in self.models),
        )


def scale_factor(register: Register) -> Register:
    """Return the register that holds the power of ten for another register."""
    return Register(
        register_address=register.scale_register or 0,
        measurement_name=f"scale factor of {register.measurement_name}",
        data_unit=None,
        data_type=DataType.INT,
        function_code=register.function_code,
        byte_order=register.byte_order,
    )


def model_header(model: int, address: int) -> Register:
    """Return the two registers at the beginning of a SunSpec model, which hold its id and its length."""
    return Register(address, f"model {model}", None, DataType.UINT32, FunctionCode.READ_HOLDING_REGISTERS)


class TransportKind(StrEnum):
    """The transport to a gateway."""

    TCP = "tcp"
    """Modbus TCP."""
    RTU = "rtu"
    """RTU frames over TCP: what transparent converters of serial lines carry."""
    UDP = "udp"
    """Modbus TCP's frames as datagrams."""
    SERIAL = "serial"
    """RTU frames over a serial line of this machine."""


DEFAULT_SERIAL_SETTINGS = "9600 8N1"

SERIAL_PORT = 1
"""The column `port` of a meter on a serial line."""


class GatewayAddress(NamedTuple):
    """Where a gateway listens, and what it speaks there.

    Of a serial line, `host` is the path of the device, and `serial_settings` how it is driven, such as `9600 8N1`.
    """

    host: str
    port: int
    transport: TransportKind = TransportKind.TCP
    serial_settings: str = ""

    @property
    def name(self) -> str:
        """The name used in messages, such as `tcp 10.0.0.5:502`."""
        return f"{self.transport} {self}"

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
    may_be_off: bool = False  # silence is no failure then

    @property
    def gateway(self) -> GatewayAddress:
        """The gateway that the meter is behind."""
        return GatewayAddress(self.host, self.port, self.transport, self.serial_settings)

    @property
    def address(self) -> str:
        """`host:port` of the gateway; of a serial line, the path of the device."""
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
