"""Fingerprints: digests that show whether the configuration of a meter or of its type has changed (pure)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

from emm_pipeline.fleet import TransportKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from emm_pipeline.fleet import EnergyMeter, Fleet, MeterType


class Fingerprints:
    """Computes fingerprints of meters. The digest of each type is computed only once."""

    def __init__(self, types: Mapping[str, MeterType]) -> None:
        self._types = types
        self._digests: dict[str, str] = {}

    def of(self, meter: EnergyMeter) -> str:
        """Return a digest of the meter's own columns, but for its id, and of its type's registers.

        The digest is the same in every process and on every machine.
        """
        digest = self._digests.get(meter.type)
        if digest is None:
            digest = _digest(*(astuple(register) for register in self._types[meter.type].registers))
            self._digests[meter.type] = digest
        # Modbus TCP is left out, so that fingerprints from before there were other transports stay the same.
        is_tcp = meter.transport is TransportKind.TCP
        transport: list[Any] = [] if is_tcp else [meter.transport, meter.serial_settings]
        return _digest([meter.host, meter.port, meter.unit_id, meter.type, meter.description, *transport], digest)


def fingerprint(meter: EnergyMeter, meter_type: MeterType) -> str:
    """Return the fingerprint of one meter of this type."""
    return Fingerprints({meter.type: meter_type}).of(meter)


def fingerprints(fleet: Fleet) -> dict[int, str]:
    """Return the fingerprint of every meter of the fleet, by id."""
    known = Fingerprints(fleet.types)
    return {meter.id: known.of(meter) for meter in fleet.meters}


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
