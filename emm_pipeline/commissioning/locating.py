"""Read the places of a SunSpec device's models, and a unit's labels, over a session."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from emm_pipeline.modbus.exception_codes import ILLEGAL_FUNCTION, UNSUPPORTED
from emm_pipeline.modbus.labels import decode_labels
from emm_pipeline.modbus.planning import plan_labels
from emm_pipeline.modbus.sunspec.models import ModelSearch, has_models, locate
from emm_pipeline.modbus.transport.base import TransportError
from emm_pipeline.readings import FailureKind, RegisterBlock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from emm_pipeline.commissioning.identification import ReadUnit
    from emm_pipeline.fleet import MeterType


async def search_models(read: ReadUnit) -> ModelSearch:
    """Return the places of the unit's SunSpec models, or why it has none.

    Raises:
        TransportError: It does not reply.
    """
    search = ModelSearch()
    while search.request:
        reply = await read(search.request)
        if reply.words:
            search.take(_packed(reply.words))
        elif reply.exception_code in UNSUPPORTED | {ILLEGAL_FUNCTION}:
            search.take_exception()
        else:
            kind = reply.kind or FailureKind.TIMEOUT
            raise TransportError(kind, f"{reply.reason} (the list of its SunSpec models)", reply.exception_code)
    return search


async def read_labels(read: ReadUnit, meter_type: MeterType) -> dict[str, str]:
    """Return the labels of a unit of this type that can be read, name to text."""
    if not meter_type.labels:
        return {}
    if has_models(meter_type):
        try:
            search = await search_models(read)
        except TransportError:
            return {}
        meter_type = locate(meter_type, search.found, search.ends)
    blocks = []
    for request in plan_labels(meter_type):
        reply = await read(request)
        if reply.words:
            blocks.append(RegisterBlock(request, _packed(reply.words)))
        elif reply.kind is not FailureKind.EXCEPTION:
            break
    return decode_labels(meter_type.labels, blocks)


def _packed(words: Sequence[int]) -> bytes:
    return struct.pack(f">{len(words)}H", *words)
