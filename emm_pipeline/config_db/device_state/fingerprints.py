"""Fingerprints: digests that show whether the configuration of a meter or of its type has changed (pure)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from emm_pipeline.fleet import EnergyMeter, Register, TransportKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from emm_pipeline.fleet import Fleet, MeterType

_FIRST_FIELDS = 11
"""Fields of a register that every fingerprint contains; other fields are added only if they are in use."""


class Fingerprints:
    """Computes fingerprints of meters. The digest of each type is computed only once."""

    def __init__(self, types: Mapping[str, MeterType]) -> None:
        self._types = types
        self._digests: dict[str, str] = {}

    def of(self, meter: EnergyMeter) -> str:
        """Return a digest of the configuration of the meter, and of its type's registers and sums.

        It is the same in every process and on every machine. Fields with their default value are left out, so that
        fingerprints from before a field existed stay the same.
        """
        digest = self._digests.get(meter.type)
        if digest is None:
            digest = self._digests[meter.type] = _digest_of(self._types[meter.type])
        is_tcp = meter.transport is TransportKind.TCP
        transport: list[Any] = [] if is_tcp else [meter.transport, meter.serial_settings]
        further = [
            [name, getattr(meter, name)] for name in ("factor", "may_be_off") if getattr(meter, name) != _USUAL[name]
        ]
        place = [meter.host, meter.port, meter.unit_id, meter.type, meter.description, *transport, *further]
        return _digest(place, digest)


def fingerprint(meter: EnergyMeter, meter_type: MeterType) -> str:
    """Return the fingerprint of one meter of this type."""
    return Fingerprints({meter.type: meter_type}).of(meter)


def fingerprints(fleet: Fleet) -> dict[int, str]:
    """Return the fingerprint of every meter of the fleet, by id."""
    known = Fingerprints(fleet.types)
    return {meter.id: known.of(meter) for meter in fleet.meters}


_USUAL = {field.name: field.default for field in fields(EnergyMeter)}


def _digest_of(meter_type: MeterType) -> str:
    sums = [
        [
            each.measurement_name,
            each.data_unit,
            [[part.measurement_name, part.factor, part.optional] for part in each.parts],
        ]
        for each in meter_type.combined
    ]
    return _digest(*map(content_of, meter_type.registers), *sums)


def content_of(register: Register) -> list[Any]:
    """Return the configured fields of a register."""
    first, further = fields(register)[:_FIRST_FIELDS], fields(register)[_FIRST_FIELDS:]
    used = [(field.name, getattr(register, field.name)) for field in further]
    return [
        *(getattr(register, field.name) for field in first),
        *([name, value] for (name, value), field in zip(used, further, strict=True) if value != field.default),
    ]


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
