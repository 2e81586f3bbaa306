"""Conditions for a fleet reading: locks, limits, and what is known of the devices. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emm_pipeline.modbus.gateway_locks import GatewayLocks, Unlocked

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from emm_pipeline.modbus.kept_sessions import KeptSessions
    from emm_pipeline.readings import GivenRange, UnsupportedRange


@dataclass(frozen=True, slots=True)
class Conditions:
    """Conditions for a reading: locks, limits and the device state.

    `unsupported` contains, by meter id, the registers that the unit does not support. `failing` are the ids of meters
    that keep failing; they get no second request if they are busy. `models` contains, by meter id, the last addresses
    of the unit's SunSpec models (`model_key` to address). `labels_known` are the ids of meters whose labels are not
    read now.
    """

    max_connections: int | None = 200
    """None: as many as possible."""
    locks: GatewayLocks = field(default_factory=Unlocked)
    unsupported: Mapping[int, Sequence[UnsupportedRange]] = field(default_factory=dict)
    failing: Collection[int] = ()
    models: Mapping[int, Mapping[int, int]] = field(default_factory=dict)
    retried: Mapping[int, Sequence[UnsupportedRange]] = field(default_factory=dict)
    """By meter id the registers that the meter did not give last time, and that are requested again now."""
    given: Mapping[int, Sequence[GivenRange]] = field(default_factory=dict)
    """By meter id the registers that the meter has ever given."""
    silent: Collection[int] = ()
    """The ids of meters that did not reply when they were read last, or whose gateway closed the connection."""
    labels_known: Collection[int] | None = None
    """None means all meters: no labels are read."""
    kept: KeptSessions | None = None
    """The sessions that stay open between the readings of a run; they are used, and replaced by those to keep."""
