"""Decoding register blocks into a DataFrame, compared with a loop that unpacks one value at a time."""

from __future__ import annotations

import random
import struct
import time
from dataclasses import replace
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.results import Row, against, times_faster
from emm_pipeline.fleet import (
    CombinedMeasurement,
    DataType,
    EnergyMeter,
    FunctionCode,
    MeterType,
    Order,
    Part,
    Register,
)
from emm_pipeline.modbus.decoding import decode_readings
from emm_pipeline.readings import MeterReading, RegisterBlock, Request

if TYPE_CHECKING:
    from collections.abc import Sequence


HOLDING = FunctionCode.READ_HOLDING_REGISTERS
_FORMATS = dict(zip(DataType, "hifHIqQd", strict=False))
"""The plain types."""
REGISTERS_PER_METER = 100


def decoding(*, quick: bool) -> list[Row]:
    """Decode a million registers of all data types and orders, from many meters of one type, into a DataFrame."""
    meters = 1_000 if quick else 10_000
    meter_type = _mixed_type()
    samples = _samples(meters, meter_type)
    frame, rows = decode_readings(samples[:50], {"bench": meter_type}), _loop(samples[:50], meter_type)
    assert list(frame["value"]) == [row[-1] for row in rows], "the two decoders disagree"
    ours, loop = [], []
    for _ in range(3):
        ours.append(_timed(lambda: decode_readings(samples, {"bench": meter_type})))
        loop.append(_timed(lambda: _loop(samples, meter_type)))
    name = f"decoding {meters * REGISTERS_PER_METER} registers into a DataFrame, compared with a loop with struct"
    return [times_faster(name, median(ours), median(loop), "s", 50), _mechanisms(meters)]


def _mechanisms(meters: int) -> Row:
    """A hybrid inverter's registers, of which some have an offset, a mask, a sign and the like, with plain ones."""
    plain, hybrid = _plain_inverter(), _hybrid_inverter()
    samples = _samples(meters, plain, factor=40.0)
    frame = decode_readings(samples, {"bench": hybrid})
    parts = sum(not register.stored for register in hybrid.registers)
    assert len(frame) == meters * (REGISTERS_PER_METER - parts + len(hybrid.combined)), "each value is there"
    with_mechanisms, without = [], []
    for _ in range(15):  # in turn, so that whatever else the machine does hits both
        without.append(_timed(lambda: decode_readings(samples, {"bench": plain})))
        with_mechanisms.append(_timed(lambda: decode_readings(samples, {"bench": hybrid})))
    name = f"decoding {meters} inverters with sums, offsets, masks, signs and factors, compared with plain registers"
    return against(name, min(with_mechanisms), min(without), "s", 1.1)


def _plain_inverter() -> MeterType:
    """Single registers, all plain."""
    return MeterType(
        "bench",
        tuple(Register(a, f"value{a}", "V", DataType.UINT16, HOLDING, scale=0.1) for a in range(REGISTERS_PER_METER)),
    )


def _hybrid_inverter() -> MeterType:
    """The same registers, of which as many as on a Deye, a Sungrow or a GEN24 have something particular."""
    registers = list(_plain_inverter().registers)
    columns: list[dict[str, Any]] = [
        *[{"value_offset": -100.0}] * 5,
        {"mask": 0x00F0, "scale": 1.0},
        {"data_type": DataType.BOOL, "mask": 1, "scale": 1.0},
        {"sign_register": 0, "sign_mask": 2},
        {"data_type": DataType.SIGN_MAGNITUDE},
        {"absolute": True, "data_type": DataType.INT},
        *[{"invalid_values": (0x7FFF, 0xFFFF)}] * 4,
        *[{"stored": False}] * 4,
        *[{"uses_factor": True}] * 12,
        {"scale_register": 1, "scale": 1.0},
    ]
    for place, further in enumerate(columns, 10):
        registers[place] = replace(registers[place], **further)
    parts = [register.measurement_name for register in registers if not register.stored]
    sums = tuple(
        CombinedMeasurement(f"sum{number}", "V", (Part(first), Part(second, -1.0)))
        for number, (first, second) in enumerate([parts[:2], parts[2:]])
    )
    return MeterType("bench", tuple(registers), combined=sums)


def _mixed_type() -> MeterType:
    chance = random.Random(1)  # noqa: S311
    registers: list[Register] = []
    address = 0
    while address < REGISTERS_PER_METER:
        fitting = [one for one in _FORMATS if address + one.count <= REGISTERS_PER_METER]
        data_type = chance.choice(fitting)
        orders = chance.choice(list(Order)), chance.choice(list(Order))
        scale = chance.choice([1.0, 0.1, 0.01])
        registers.append(Register(address, f"value{address}", "V", data_type, HOLDING, *orders, scale))
        address += data_type.count
    return MeterType("bench", tuple(registers))


def _samples(meters: int, meter_type: MeterType, factor: float = 1.0) -> list[MeterReading]:
    now = datetime.now(UTC).replace(microsecond=0)
    request = Request(HOLDING, 0, REGISTERS_PER_METER)
    data = [_data(random.Random(number), meter_type) for number in range(50)]  # noqa: S311
    return [
        MeterReading(
            EnergyMeter(id_, "h", 502, 1, "bench", f"meter {id_}", factor=factor),
            now,
            (RegisterBlock(request, data[id_ % 50]),),
        )
        for id_ in range(meters)
    ]


def _data(chance: random.Random, meter_type: MeterType) -> bytes:
    words = b""
    for register in meter_type.registers:
        value: Any = chance.randrange(1, 10 if register.register_address == 1 else 100)
        packed = struct.pack(">" + _FORMATS[register.data_type], value)
        words += _reordered(packed, register)
    return words


def _reordered(data: bytes, register: Register) -> bytes:
    pairs = [data[i : i + 2] for i in range(0, len(data), 2)]
    if register.word_order is Order.LITTLE_ENDIAN:
        pairs.reverse()
    if register.byte_order is Order.LITTLE_ENDIAN:
        pairs = [pair[::-1] for pair in pairs]
    return b"".join(pairs)


def _loop(samples: Sequence[MeterReading], meter_type: MeterType) -> list[tuple[Any, ...]]:
    """The obvious implementation: unpack and scale each value, and append a row. It does not build a DataFrame."""
    rows = []
    for sample in samples:
        data = sample.blocks[0].data
        for register in meter_type.registers:
            start = 2 * register.register_address
            ordered = _reordered(data[start : start + 2 * register.count], register)
            (raw,) = struct.unpack(">" + _FORMATS[register.data_type], ordered)
            value = raw * register.scale if register.scale == 1 else raw / round(1 / register.scale)
            if register.invalid_value is not None and raw == register.invalid_value:
                continue
            meter = sample.meter
            rows.append(
                (sample.time, meter.id, meter.description, register.measurement_name, register.data_unit, float(value))
            )
    return rows


def _timed(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
