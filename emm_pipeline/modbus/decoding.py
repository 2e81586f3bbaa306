"""Decode meter readings into a DataFrame. Pure, and vectorised.

Meters of one type whose replies have the same layout are decoded together.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from emm_pipeline.fleet import MeterType
from emm_pipeline.modbus.data_frame import Points, Texts, in_order, to_frame
from emm_pipeline.modbus.layout import Layout
from emm_pipeline.readings import RegisterBlock, Request

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd

    from emm_pipeline.fleet import Register
    from emm_pipeline.readings import MeterReading


class DecodedReadings(NamedTuple):
    """The values, and by meter id why values are absent although the device sent something."""

    frame: pd.DataFrame
    notices: Mapping[int, tuple[str, ...]]


def decode_readings(meter_readings: Sequence[MeterReading], types: Mapping[str, MeterType]) -> pd.DataFrame:
    """Return the values of `decode_with_notices`."""
    return decode_with_notices(meter_readings, types).frame


def decode_with_notices(meter_readings: Sequence[MeterReading], types: Mapping[str, MeterType]) -> DecodedReadings:
    """Decode every register that the meter readings hold, and the sums of their values.

    A value is absent if a word of its register is not inside the block, if its raw value means "no reading", if it is
    not finite, if its scale factor may be that of another moment, and if it is a sum without its parts.

    Args:
        meter_readings: As read; one without blocks gives no rows.
        types: Their meter types by name.

    Returns:
        One row per value, with READING_COLUMNS, in the order of the meter readings and of their type's registers, with
        the sums after them; and notices.
    """
    names, units = Texts(), Texts()
    parts = []
    notices: dict[int, list[str]] = defaultdict(list)
    for layout, indices, replies in _alike(meter_readings, types):
        factors = [meter_readings[i].meter.factor for i in indices] if layout.uses_factor else [1.0]
        found = layout.decode(replies, factors)
        name_codes = names.codes(name for name, _ in layout.series)
        unit_codes = units.codes(unit for _, unit in layout.series)
        parts.append(
            Points.of(np.fromiter(indices, np.intp, len(indices)), name_codes, unit_codes, found.matrix, found.present)
        )
        for index, line in found.notices:
            notices[meter_readings[indices[index]].meter.id].append(line)
    frame = to_frame(meter_readings, in_order(parts), names, units)
    return DecodedReadings(frame, {meter_id: tuple(lines) for meter_id, lines in notices.items()})


Group: TypeAlias = "tuple[MeterType, list[int], list[tuple[RegisterBlock, ...]]]"
"""A type, the indices of meter readings, and their blocks."""


def _alike(
    meter_readings: Sequence[MeterReading], types: Mapping[str, MeterType]
) -> Iterator[tuple[Layout, list[int], list[tuple[RegisterBlock, ...]]]]:
    """Group the meter readings that have blocks by type and layout: yield the layout, indices, and blocks."""
    # By the type's identity: comparing two types would compare all their registers. The group is looked up only if it
    # differs from that of the reading before, since hashing an enum takes longer than everything else here.
    groups: dict[tuple[int, tuple[Request, ...]], Group] = {}
    last_type: MeterType | None = None
    last_requests: list[Request] = []
    for index, reading in enumerate(meter_readings):
        blocks = reading.blocks
        if blocks:
            meter_type = reading.located_type or types[reading.meter.type]
            requests = [block.request for block in blocks]
            if meter_type is not last_type or requests != last_requests:
                last_type, last_requests = meter_type, requests
                _, indices, replies = groups.setdefault((id(meter_type), tuple(requests)), (meter_type, [], []))
            indices.append(index)
            replies.append(blocks)
    for (type_id, spans), (meter_type, indices, replies) in groups.items():
        known = _layouts.get((type_id, spans))
        if known is None:
            if len(_layouts) >= _MAX_LAYOUTS:
                _layouts.clear()
            known = _layouts[type_id, spans] = meter_type, Layout(meter_type, spans)
        yield known[1], indices, replies


_MAX_LAYOUTS = 100
_layouts: dict[tuple[int, tuple[Request, ...]], tuple[MeterType, Layout]] = {}
"""The layouts of the last readings, by the identity of the type, which is kept here, and the requests: a run decodes
the same ones at each sample time."""


def decode_value(
    words: Sequence[int], register: Register, companions: Sequence[Sequence[int]] = (), factor: float = 1.0
) -> float | None:
    """Return the value that a poll decodes from the words of one register; None if it would be absent.

    Args:
        words: The words at the register's address.
        register: With its type's `register_bytes`.
        companions: The words of each of `register.companions`.
        factor: The meter's factor.
    """
    if len(companions) < len(register.companions) or not all(companions):
        return None
    addresses: dict[str, Any] = {"register_address": 0, "stored": True}
    all_words = list(words)
    columns = {"scale factor": "scale_register", "sign": "sign_register", "upper half": "high_register_address"}
    address = register.count
    for companion, its_words in zip(register.companions, companions, strict=True):
        what = companion.measurement_name.removesuffix(f" of {register.measurement_name}")
        addresses[columns[what]] = address
        all_words += its_words
        address += companion.count
    request = Request(register.function_code, 0, address, register.register_bytes)
    data = np.array(all_words, dtype=">u2").tobytes()
    layout = Layout(MeterType("", (replace(register, **addresses),)), [request])
    found = layout.decode([(RegisterBlock(request, data),)], [factor])
    return float(found.matrix[0, 0]) if found.present[0, 0] else None
