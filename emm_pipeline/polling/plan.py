"""Plan a run: the meters to read, their types, and the reasons why some cannot be read (pure)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from emm_pipeline.fleet import ConfigurationIssue, EnergyMeter, Fleet, MeterType
    from emm_pipeline.polling.sharding import Shard


@dataclass(frozen=True, slots=True)
class PollPlan:
    """The meters that a run reads, and, by id, the reason for each requested meter that cannot be read."""

    meters: tuple[EnergyMeter, ...] = ()
    types: Mapping[str, MeterType] = field(default_factory=dict)
    unreadable: Mapping[int, str] = field(default_factory=dict)


def plan_shard(fleet: Fleet, shard: Shard, discovered: Collection[int]) -> PollPlan:
    """Plan all meters of a shard that have been discovered."""
    return _plan(
        fleet,
        [meter for meter in fleet.meters if meter.id in discovered and shard.holds(meter)],
        {
            meter_id: issue
            for meter_id, issue in fleet.misconfigured.items()
            if meter_id in discovered and shard.reports_misconfigured(meter_id)
        },
    )


def plan_meters(fleet: Fleet, ids: Collection[int]) -> PollPlan:
    """Plan the meters with these ids; a meter that is not, or no longer, enabled in the database is unreadable."""
    meters = [meter for meter in fleet.meters if meter.id in ids]
    misconfigured = {id_: issue for id_, issue in fleet.misconfigured.items() if id_ in ids}
    plan = _plan(fleet, meters, misconfigured)
    gone = set(ids) - {meter.id for meter in meters} - set(misconfigured)
    reasons = dict.fromkeys(sorted(gone), "not in energy_meters, or not enabled there")
    return PollPlan(plan.meters, plan.types, {**plan.unreadable, **reasons})


def _plan(fleet: Fleet, meters: Iterable[EnergyMeter], misconfigured: Mapping[int, ConfigurationIssue]) -> PollPlan:
    chosen = tuple(sorted(meters, key=lambda meter: meter.id))
    names = {meter.type for meter in chosen}
    return PollPlan(
        chosen,
        {name: meter_type for name, meter_type in fleet.types.items() if name in names},
        {id_: f"configuration: {issue}" for id_, issue in misconfigured.items()},
    )
