"""What the words of the replies mean: from samples to a DataFrame of readings. Pure, and vectorised.

Meters of one type whose replies have the same layout are decoded together: their words form one matrix, and all
registers of one data type and order are taken from it at once.
"""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import starmap
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from emm_pipeline.fleet import DataType, FunctionCode, Order, Register, scale_factor
from emm_pipeline.modbus.frame import Points, Texts, in_order, to_frame
from emm_pipeline.modbus.planning import Request

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from emm_pipeline.fleet import MeterType
    from emm_pipeline.readings import MeterSample

_DTYPES: dict[DataType, np.dtype[Any]] = {
    DataType.INT: np.dtype("<i2"),
    DataType.LONG: np.dtype("<i4"),
    DataType.FLOAT: np.dtype("<f4"),
    DataType.UINT16: np.dtype("<u2"),
    DataType.UINT32: np.dtype("<u4"),
    DataType.INT64: np.dtype("<i8"),
    DataType.UINT64: np.dtype("<u8"),
    DataType.FLOAT64: np.dtype("<f8"),
}
"""Little-endian, so that a value is its registers in rising significance, on every machine."""

_span = attrgetter("function_code", "address", "count")
"""Of a block; faster than any expression."""

HIGHEST_POWER = 10
"""SunSpec's scale factors go from -10 to 10; -32768, and whatever else, means that there is no reading."""


def decode_samples(samples: Sequence[MeterSample], types: Mapping[str, MeterType]) -> pd.DataFrame:
    """Decodes every register that the samples hold.

    Absent is what cannot be told: a register whose words are not all inside one block, a raw value equal to
    `invalid_value`, and what is not finite.

    Args:
        samples: As read; a sample without blocks gives no rows.
        types: The samples' meter types by name.

    Returns:
        One row per value, with READING_COLUMNS, in the order of the samples and of their type's registers.
    """
    names, units = Texts(), Texts()
    parts = []
    for meter_type, layout, indices in _alike(samples, types):
        words = np.frombuffer(b"".join([block.data for i in indices for block in samples[i].blocks]), dtype=">u2")
        matrix = words.astype("<u2").reshape(len(indices), -1)
        registers, values, present = _decode_layout(matrix, layout, meter_type)
        name_codes = names.codes(register.measurement_name for register in registers)
        unit_codes = units.codes(register.data_unit for register in registers)
        if present.all():
            meters = len(indices)
            rows = np.repeat(np.array(indices), len(registers))
            parts.append(Points(rows, np.tile(name_codes, meters), np.tile(unit_codes, meters), values.ravel()))
        else:
            rows, columns = present.nonzero()
            parts.append(Points(np.array(indices)[rows], name_codes[columns], unit_codes[columns], values[present]))
    return to_frame(samples, in_order(parts), names, units)


def _alike(
    samples: Sequence[MeterSample], types: Mapping[str, MeterType]
) -> Iterator[tuple[MeterType, list[Request], list[int]]]:
    """Groups the samples that have blocks by type and layout: yields both, and the samples' indices."""
    # By the type's identity: to compare two types, all their registers would have to be. And looked up only where the
    # sample before had another, since an enum's hash costs more than all the rest.
    groups: dict[tuple[int, Any], tuple[MeterType, list[int]]] = {}
    last: tuple[MeterType | None, Any] = None, None
    for index, sample in enumerate(samples):
        if sample.blocks:
            meter_type = sample.located_type or types[sample.meter.type]
            spans = tuple(map(_span, sample.blocks))
            if meter_type is not last[0] or spans != last[1]:
                last = meter_type, spans
                _, indices = groups.setdefault((id(meter_type), spans), (meter_type, []))
            indices.append(index)
    for (_, spans), (meter_type, indices) in groups.items():
        yield meter_type, list(starmap(Request, spans)), indices


def decode_raw(words: Sequence[int], data_type: DataType, word_order: Order, byte_order: Order) -> int | float:
    """Returns the raw value in the words of one value: an int, or a float that may be infinite or NaN."""
    like = Register(0, "", None, data_type, FunctionCode.READ_HOLDING_REGISTERS, word_order, byte_order)
    number: int | float = _raw_values(np.array([words], dtype="<u2"), [0], like)[0, 0].item()
    return number


def decode_value(words: Sequence[int], register: Register, power: Sequence[int] = ()) -> float | None:
    """Returns what polling makes of the words of one register; None where it would be absent.

    `power` is the word of the register that scales it, where it has one.
    """
    raw = _raw_values(np.array([words], dtype="<u2"), [0], register)
    values = _scaled(raw, [register])[:, 0]
    if register.scale_register is not None:
        if not power:
            return None
        powers = _raw_values(np.array([power], dtype="<u2"), [0], scale_factor(register))[:, 0]
        if abs(int(powers[0])) > HIGHEST_POWER:
            return None
        values = _times_power_of_ten(values, powers)
    value = float(values[0])
    return value if math.isfinite(value) and raw[0, 0] != _invalid_raw(register) else None


def _decode_layout(
    words: NDArray[np.uint16], layout: Sequence[Request], meter_type: MeterType
) -> tuple[list[Register], NDArray[np.float64], NDArray[np.bool_]]:
    """Decodes `words`, shape (meters, words of the layout), of meters of one type.

    Returns:
        The registers that are in the layout, their values, and which of these there are; shape (meters, registers).
    """
    located = [(r, column) for r in meter_type.registers if (column := _column(r, layout)) is not None]
    factors = {r: _column(scale_factor(r), layout) for r, _ in located if r.scale_register is not None}
    located = [(r, column) for r, column in located if factors.get(r, 0) is not None]
    alike: dict[tuple[DataType, Order, Order], list[int]] = defaultdict(list)
    for position, (register, _) in enumerate(located):
        alike[register.data_type, register.word_order, register.byte_order].append(position)
    if not located:
        return [], np.empty((len(words), 0)), np.empty((len(words), 0), dtype=bool)

    values = np.empty((len(words), len(located)))
    invalid = []
    for positions in alike.values():
        registers = [located[p][0] for p in positions]
        raw = _raw_values(words, [located[p][1] for p in positions], registers[0])
        scaled = _scaled(raw, registers)
        for i, register in enumerate(registers):
            if (factor := factors.get(register)) is not None:
                powers = _raw_values(words, [factor], scale_factor(register))[:, 0]
                scaled[:, i] = _times_power_of_ten(scaled[:, i], powers)
            if (nothing := _invalid_raw(register)) is not None:
                invalid.append((positions[i], raw[:, i] == nothing))
        values[:, positions] = scaled
    present = np.isfinite(values)
    for position, is_invalid in invalid:
        present[:, position] &= ~is_invalid
    return [register for register, _ in located], values, present


def _column(register: Register, layout: Sequence[Request]) -> int | None:
    """The column of the register's first word among the words of the layout; None if it is not all there."""
    offset = 0
    for request in layout:
        if request.covers(register):
            return offset + register.register_address - request.address
        offset += request.count
    return None


def _raw_values(words: NDArray[np.uint16], columns: Sequence[int], like: Register) -> NDArray[Any]:
    """The raw values that begin at `columns`, shape (meters, columns), typed and ordered as those of `like`."""
    rising = range(like.count) if like.word_order is Order.LITTLE_ENDIAN else range(like.count - 1, -1, -1)
    gathered = words.take([column + word for column in columns for word in rising], axis=1)
    if like.byte_order is Order.LITTLE_ENDIAN:
        gathered.byteswap(inplace=True)
    return gathered.view(_DTYPES[like.data_type])


def _invalid_raw(register: Register) -> Any:
    """The raw value that means "no reading", in the register's data type; None if no raw value does.

    A negative one of a signed type may be given as its bit pattern, as manuals do: 65535 for -1.
    """
    value = register.invalid_value
    if value is None:
        return None
    dtype = _DTYPES[register.data_type]
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return np.array(value, dtype=float).astype(dtype)[()]
    patterns = 1 << 8 * dtype.itemsize
    lowest = -patterns // 2 if dtype.kind == "i" else 0
    if not lowest <= value < patterns or value != int(value):
        return None
    return np.array(int(value) % patterns, dtype=f"<u{dtype.itemsize}").view(dtype)[()]


def _scaled(raw: NDArray[Any], registers: Sequence[Register]) -> NDArray[np.float64]:
    factors, divisors = np.array([_factor_and_divisor(r.scale) for r in registers]).T
    with np.errstate(all="ignore"):  # what is not finite is absent
        values = raw.astype(np.float64)
        if (factors != 1).any():
            values *= factors
        if (divisors != 1).any():
            values /= divisors
    return values


def _times_power_of_ten(values: NDArray[np.float64], powers: NDArray[np.int16]) -> NDArray[np.float64]:
    """Divides by ten where others would multiply by 0.1, which no float is exactly. NaN for a power that is none."""
    exponents = powers.astype(float)
    exponents[abs(exponents) > HIGHEST_POWER] = np.nan
    with np.errstate(all="ignore"):
        scaled: NDArray[np.float64] = np.where(exponents < 0, values / 10.0**-exponents, values * 10.0**exponents)
    return scaled


def _factor_and_divisor(scale: float) -> tuple[float, float]:
    """By what to multiply and divide for a scale: 2314 / 10 is 231.4, but 2314 * 0.1 is 231.40000000000003."""
    if scale and math.isfinite(1 / scale):
        divisor = float(round(1 / scale))
        if divisor and abs(1 / divisor - scale) <= math.ulp(scale):
            return 1.0, divisor
    return scale, 1.0
