"""Registers and the codes that describe them. Frozen records, nothing else.

The integer codes are those of the configuration database (SPEC sections 4 and 8) and are fixed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

MAX_REGISTERS_PER_REQUEST = 125
"""The most registers that one Modbus reply can carry (Modbus Application Protocol 1.1b3, 6.3)."""

REGISTER_SPACE = 65536
"""Registers that a unit has per function code."""

HIGHEST_ADDRESS = REGISTER_SPACE - 1

HIGHEST_COPY = 100
"""Highest number of a copy of a SunSpec model that a device has more than once."""


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
    BOOL = 9
    """0 or 1: a coil, a discrete input, or whether any bit of a register (any bit of its `mask`) is set."""
    SIGN_MAGNITUDE = 10
    """16 bits: the highest is the sign, the others are the magnitude."""
    UINT24 = 11
    """The lower 24 bits of two registers."""
    UINT48 = 12
    INT48 = 13
    BCD4 = 14
    """Four decimal digits, four bits each."""
    BCD8 = 15
    """Eight decimal digits, four bits each."""
    MODULO_10000 = 16
    """Two registers of four decimal digits, each a number from 0 to 9999."""
    STRING = 17
    """Text, two characters a register: a label of the meter, never a measurement."""

    @property
    def count(self) -> int:
        """Words of 16 bits that one value takes: 1 to 4. A STRING takes as many as its register's `length` says."""
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
    DataType.BOOL: 1,
    DataType.SIGN_MAGNITUDE: 1,
    DataType.UINT24: 2,
    DataType.UINT48: 3,
    DataType.INT48: 3,
    DataType.BCD4: 1,
    DataType.BCD8: 2,
    DataType.MODULO_10000: 2,
    DataType.STRING: 1,
}

FLOATS = frozenset({DataType.FLOAT, DataType.FLOAT64})


class FunctionCode(IntEnum):
    """The Modbus functions that read: bits (1, 2) and registers (3, 4). Each has its own address space."""

    READ_COILS = 1
    READ_DISCRETE_INPUTS = 2
    READ_HOLDING_REGISTERS = 3
    READ_INPUT_REGISTERS = 4

    @property
    def reads_bits(self) -> bool:
        """Whether an address is one bit, not a register."""
        return self <= FunctionCode.READ_DISCRETE_INPUTS


REGISTER_FUNCTIONS = (FunctionCode.READ_HOLDING_REGISTERS, FunctionCode.READ_INPUT_REGISTERS)


class Order(IntEnum):
    """Order of the bytes in a register, or of the registers in a value."""

    LITTLE_ENDIAN = 1
    BIG_ENDIAN = 2


WORD_BYTES = 2
"""Bytes of a word, which is what a register holds on nearly all devices."""


@dataclass(frozen=True, slots=True)
class Register:
    """One measurement of a meter type, or one label: a row of the table `registers`.

    `register_address` is zero-based, as on the wire. The value, in `data_unit`, is

        scale * raw * 10 ** n + value_offset

    where n is the INT in the `scale_register`, 0 without one. A raw value equal to `invalid_value`, or to one of
    `invalid_values`, is not a reading. With a `mask`, raw is the bits that the mask selects, shifted to its lowest bit.
    Then `absolute` takes the absolute value, and a `sign_register` makes it negative if a bit of `sign_mask` is set.
    With `uses_factor` it is multiplied by the meter's factor. If `high_register_address` is set, it is the address of
    the upper half of the raw value, and `register_address` that of the lower half.

    With a `model`, all addresses count from the first register of this SunSpec model, wherever the device has it; if
    there are several with this id, `model_copy` selects one. `length` is the number of registers of a STRING. A
    register that is not `stored` is read only for combined measurements.

    `register_bytes` comes from the type and is not a column of the table.
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
    value_offset: float = 0.0
    mask: int | None = None
    invalid_values: tuple[int | float, ...] = ()
    absolute: bool = False
    sign_register: int | None = None
    sign_mask: int | None = None
    model_copy: int = 1
    high_register_address: int | None = None
    length: int | None = None
    uses_factor: bool = False
    stored: bool = True
    register_bytes: int = WORD_BYTES

    @property
    def words(self) -> int:
        """Words of 16 bits that the whole value takes."""
        if self.data_type is DataType.STRING:
            return (self.length or 1) * self.register_bytes // WORD_BYTES
        return self.data_type.count

    @property
    def count(self) -> int:
        """Registers, or bits, that are read at `register_address`: all of the value, or its lower half."""
        words = self.words // 2 if self.high_register_address is not None else self.words
        return -(-words * WORD_BYTES // self.register_bytes)

    @property
    def end(self) -> int:
        """The address after the last register at `register_address`."""
        return self.register_address + self.count

    @property
    def companions(self) -> tuple[Register, ...]:
        """Other registers that its value needs, from the same moment: scale factor, sign, upper half."""
        if self.scale_register is self.sign_register is self.high_register_address is None:
            return ()
        found = []
        if self.scale_register is not None:
            found.append(scale_factor(self))
        if self.sign_register is not None:
            found.append(self._beside(self.sign_register, "sign", DataType.UINT16))
        if self.high_register_address is not None:
            half = DataType.UINT16 if self.words == 2 else DataType.UINT32  # noqa: PLR2004 - words in a value
            found.append(self._beside(self.high_register_address, "upper half", half))
        return tuple(found)

    def _beside(self, address: int, what: str, data_type: DataType) -> Register:
        return Register(
            register_address=address,
            measurement_name=f"{what} of {self.measurement_name}",
            data_unit=None,
            data_type=data_type,
            function_code=self.function_code,
            word_order=self.word_order,
            byte_order=self.byte_order,
            register_bytes=self.register_bytes,
        )


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a combined measurement: `factor` times the measurement. An `optional` part may be absent."""

    measurement_name: str
    factor: float = 1.0
    optional: bool = False


@dataclass(frozen=True, slots=True)
class CombinedMeasurement:
    """A measurement that is a sum: rows of the table `combined_measurements`.

    It has a value only if all parts that are not optional were read in the same poll, and at least one part was.
    """

    measurement_name: str
    data_unit: str | None
    parts: tuple[Part, ...]


def scale_factor(register: Register) -> Register:
    """The register that contains the power of ten of another one."""
    return Register(
        register_address=register.scale_register or 0,
        measurement_name=f"scale factor of {register.measurement_name}",
        data_unit=None,
        data_type=DataType.INT,
        function_code=register.function_code,
        word_order=register.word_order,
        byte_order=register.byte_order,
        register_bytes=register.register_bytes,
    )
