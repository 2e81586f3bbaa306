"""The fleet: which meters there are and which registers each type has. Frozen records, nothing else.

The integer codes are those of the configuration database (SPEC section 4) and are fixed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_REGISTERS_PER_REQUEST = 125
"""The most registers that one Modbus reply can carry (Modbus Application Protocol 1.1b3, 6.3)."""

REGISTER_SPACE = 65536
"""Registers that a unit has per function code."""

HIGHEST_ADDRESS = REGISTER_SPACE - 1


class DataType(IntEnum):
    """How the value in one or more 16-bit registers is coded."""

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
        """Registers that one value takes: 1, 2 or 4."""
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

    `register_address` is zero-based, as on the wire. The value is
    `scale * raw`, in `data_unit`; a raw value equal to `invalid_value` is no reading. With a `scale_register` it is
    `scale * raw * 10 ** n`, where n is the INT in that register. With a `model` both addresses count from the first
    register of this SunSpec model, wherever the device has it.
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
        """Registers that the value takes."""
        return self.data_type.count

    @property
    def end(self) -> int:
        """The address behind the value's last register."""
        return self.register_address + self.count


@dataclass(frozen=True, slots=True)
class MeterType:
    """What all meters of one type share: their registers and how they want to be asked.

    `max_gap` is how many unwanted registers are read at most to save a request; see
    docs/architecture.md for where the default comes from.
    """

    name: str
    registers: tuple[Register, ...] = ()
    max_registers_per_request: int = MAX_REGISTERS_PER_REQUEST
    max_gap: int = 20
    timeout_s: float = 3.0
    request_pause_s: float = 0.0
    models: tuple[tuple[int, int], ...] = ()
    """Where a device has the SunSpec models of its registers: model id, address of its first register."""
    unusable: tuple[tuple[str, str], ...] = ()
    """Rows of the type that cannot be used: the measurement, or what identifies the row, and why, in one line."""

    @property
    def asked(self) -> tuple[Register, ...]:
        """All that is asked of a device: the registers, those that scale them, and those that say which model it is."""
        scaling = {
            (r.function_code, r.scale_register, r.byte_order): r for r in self.registers if r.scale_register is not None
        }
        return (
            *self.registers,
            *(scale_factor(register) for register in scaling.values()),
            *(model_header(model, address) for model, address in self.models),
        )


def scale_factor(register: Register) -> Register:
    """The register that holds the power of ten of another one."""
    return Register(
        register_address=register.scale_register or 0,
        measurement_name=f"scale factor of {register.measurement_name}",
        data_unit=None,
        data_type=DataType.INT,
        function_code=register.function_code,
        byte_order=register.byte_order,
    )


def model_header(model: int, address: int) -> Register:
    """The two registers with which a SunSpec model begins: they hold its id and its length."""
    return Register(address, f"model {model}", None, DataType.UINT32, FunctionCode.READ_HOLDING_REGISTERS)


class TransportKind(StrEnum):
    """How a gateway is reached."""

    TCP = "tcp"
    """Modbus TCP."""


class GatewayAddress(NamedTuple):
    """Where a gateway listens, and what it speaks there."""

    host: str
    port: int
    transport: TransportKind = TransportKind.TCP

    @property
    def name(self) -> str:
        """What its transport is called in messages, such as `tcp 10.0.0.5:502`."""
        return f"{self.transport} {self}"

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


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
    may_be_off: bool = False
    """Whether silence is no failure, as of an inverter at night."""

    @property
    def gateway(self) -> GatewayAddress:
        """The gateway that the meter is behind."""
        return GatewayAddress(self.host, self.port, self.transport)

    @property
    def address(self) -> str:
        """`host:port` of the gateway."""
        return f"{self.host}:{self.port}"

    def __str__(self) -> str:
        name = f"meter {self.id}" + (f" ({self.description})" if self.description else "")
        return f"{name} at {self.address} unit {self.unit_id}"


@dataclass(frozen=True, slots=True)
class ConfigurationIssue:
    """A row of the configuration that cannot be right: which one, which column, and why.

    `meter_id` is set where the issue keeps a meter from being polled.
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
    """What the configuration database says, checked.

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
        """By meter id, why an enabled meter cannot be polled (its first issue)."""
        found: dict[int, ConfigurationIssue] = {}
        for issue in self.issues:
            if issue.meter_id is not None:
                found.setdefault(issue.meter_id, issue)
        return found
