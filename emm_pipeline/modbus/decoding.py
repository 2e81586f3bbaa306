"""Decode the registers of meter readings to a DataFrame. Pure and vectorised.

Meters of one type whose replies have the same layout are decoded together: each register's values are a view of their
data, and become a column of a matrix.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from emm_pipeline.fleet import scale_factor
from emm_pipeline.modbus.data_frame import Points, Texts, in_order, to_frame
from emm_pipeline.modbus.values import Scaling, Words, invalid_raw, times_power_of_ten

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from emm_pipeline.fleet import MeterType, Register
    from emm_pipeline.readings import MeterReading, RegisterBlock, Request


_METERS_AT_ONCE = 1000
"""Number of meters decoded at once, so that their data and the matrix stay in the processor's cache."""


def decode_readings(meter_readings: Sequence[MeterReading], types: Mapping[str, MeterType]) -> pd.DataFrame:
    """Decode every register in the meter readings.

    A value is omitted if the register is not completely inside one block, if the raw value equals `invalid_value`, or
    if the value is not finite.

    Args:
        meter_readings: The meter readings; those without blocks give no rows.
        types: Their meter types by name.

    Returns:
        One row per value, with READING_COLUMNS, in the order of the meter readings and of their type's registers.
    """
    names, units = Texts(), Texts()
    parts = []
    for layout, indices in _alike(meter_readings, types):
        values, present = layout.decode([meter_readings[i].blocks for i in indices])
        name_codes = names.codes(register.measurement_name for register in layout.registers)
        unit_codes = units.codes(register.data_unit for register in layout.registers)
        parts.append(Points.of(np.array(indices), name_codes, unit_codes, values, present))
    return to_frame(meter_readings, in_order(parts), names, units)


def _alike(
    meter_readings: Sequence[MeterReading], types: Mapping[str, MeterType]
) -> Iterator[tuple[_Layout, list[int]]]:
    """Group the meter readings with blocks by type and layout; yield type, layout and the indices of the readings."""
    # Types are compared by identity, because a comparison by value would compare all their registers. The layout is
    # looked up only if it differs from the previous reading's, because hashing an enum takes more time than the rest.
    groups: dict[tuple[int, tuple[Request, ...]], tuple[MeterType, list[int]]] = {}
    last_type: MeterType | None = None
    last_requests: list[Request] = []
    for index, reading in enumerate(meter_readings):
        if reading.blocks:
            meter_type = reading.located_type or types[reading.meter.type]
            requests = [block.request for block in reading.blocks]
            if meter_type is not last_type or requests != last_requests:
                last_type, last_requests = meter_type, requests
                _, indices = groups.setdefault((id(meter_type), tuple(requests)), (meter_type, []))
            indices.append(index)
    for (_, spans), (meter_type, indices) in groups.items():
        yield _Layout(meter_type, spans), indices


class _Layout:
    """The positions of a type's registers in its replies; `registers` are those that the replies contain completely."""

    def __init__(self, meter_type: MeterType, requests: Sequence[Request]) -> None:
        located = [(r, column) for r in meter_type.registers if (column := _column(r, requests)) is not None]
        factors = {r: _column(scale_factor(r), requests) for r, _ in located if r.scale_register is not None}
        located = [(r, column) for r, column in located if factors.get(r, 0) is not None]
        self.registers = [register for register, _ in located]
        self._columns = [column for _, column in located]
        self._factor_columns = [factors.get(register) for register in self.registers]
        self._invalid = [invalid_raw(register) for register in self.registers]
        self._scaling = Scaling(self.registers)

    def decode(self, replies: Sequence[tuple[RegisterBlock, ...]]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return the values, and a mask of those that are present; both have the shape (replies, registers)."""
        values = np.empty((len(replies), len(self.registers)))
        present = np.empty_like(values, dtype=bool)
        for first in range(0, len(replies), _METERS_AT_ONCE):
            some = slice(first, first + _METERS_AT_ONCE)
            words = Words(b"".join([block.data for blocks in replies[some] for block in blocks]), len(values[some]))
            self._decode_into(values[some], present[some], words)
        return values, present

    def _decode_into(self, values: NDArray[np.float64], present: NDArray[np.bool_], words: Words) -> None:
        raws = [words.raw(column, register) for column, register in zip(self._columns, self.registers, strict=True)]
        with np.errstate(invalid="ignore"):  # a signalling NaN is treated as any other NaN
            for position, raw in enumerate(raws):
                values[:, position] = raw
        self._scaling.apply(values)
        for position, factor in enumerate(self._factor_columns):
            if factor is not None:
                powers = words.raw(factor, scale_factor(self.registers[position]))
                values[:, position] = times_power_of_ten(values[:, position], powers)
        np.isfinite(values, out=present)
        for position, nothing in enumerate(self._invalid):
            if nothing is not None:
                present[:, position] &= raws[position] != nothing


def _column(register: Register, requests: Sequence[Request]) -> int | None:
    """Return the column of the register's first word in the replies; None if they do not contain all its words."""
    offset = 0
    for request in requests:
        if request.covers(register):
            return offset + register.register_address - request.address
        offset += request.count
    return None
