"""The discovery: finds new, changed and removed meters in the database and keeps one partition for each.

It adds partitions at once. It deletes a partition (also one whose key is not an id) only if no run in progress may
refer to it; otherwise a later discovery deletes it.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dagster import MetadataValue, OpExecutionContext, Out, Output, job, op
from sqlalchemy import Engine

from emm_pipeline.config_db.device_state.fingerprints import fingerprints
from emm_pipeline.config_db.device_state.meter_status import forget, load_configurations, save_configurations
from emm_pipeline.config_db.gateway_locks import gateway_locks
from emm_pipeline.config_db.loader import load_fleet
from emm_pipeline.defs.lineage import changed_assets
from emm_pipeline.defs.partitions import (
    METER_READINGS,
    METERS,
    existing_partitions,
    meter_ids,
    other_keys,
    partition_changes,
    quoted,
    wanted_partitions,
)
from emm_pipeline.defs.reporting import table
from emm_pipeline.defs.resources import ConfigDatabase, Limits
from emm_pipeline.defs.runs import MAX_RUNTIME_TAG, TICK_TAG, partitions_in_flight
from emm_pipeline.event_loop import run_fast
from emm_pipeline.fleet import EnergyMeter, Fleet, GatewayAddress
from emm_pipeline.modbus.reachability import find_unreachable
from emm_pipeline.settings import current_settings


@dataclass(frozen=True, slots=True)
class Discovery:
    """The result of a discovery. Only new and changed meters are tested and may be in `unreachable`."""

    meters: int
    added: list[str]
    removed: list[str]
    kept_for_a_run: list[str]
    changed: list[EnergyMeter]
    unreachable: dict[int, str]


@op(out=Out(dict), tags={"dagster/priority": "10"})
def discover(context: OpExecutionContext, config_database: ConfigDatabase, limits: Limits) -> Output[dict[str, int]]:
    """Compare the database with the partitions, add and delete partitions, and test new and changed meters."""
    _wait_for_second(context)
    instance = context.instance
    with config_database.open() as engine:
        fleet = load_fleet(engine)
        existing = existing_partitions(instance)
        to_add, to_delete = partition_changes(wanted_partitions(fleet), existing)
        in_flight = partitions_in_flight(instance, METER_READINGS, to_delete)
        to_delete = [key for key in to_delete if key not in in_flight]

        configurations = fingerprints(fleet)
        known = load_configurations(engine)
        to_test = [meter for meter in fleet.meters if known.get(meter.id) != configurations[meter.id]]

        if to_add:
            instance.add_dynamic_partitions(str(METERS.name), to_add)
        for key in to_delete:
            instance.delete_dynamic_partition(str(METERS.name), key)
        refused = run_fast(_find_unreachable(engine, {meter.gateway for meter in to_test}, limits.max_connections))
        save_configurations(engine, {meter.id: configurations[meter.id] for meter in to_test})
        forget(engine, meter_ids(to_delete))

    found = Discovery(
        meters=len(fleet.meters),
        added=to_add,
        removed=to_delete,
        kept_for_a_run=sorted(in_flight),
        changed=[meter for meter in to_test if meter.id in known],
        unreachable={m.id: refused[m.gateway] for m in to_test if m.gateway in refused},
    )
    _log(context, found, fleet)
    for materialization in changed_assets(instance, fleet):
        context.log_event(materialization)
    counts = {"added": len(to_add), "removed": len(to_delete), "changed": len(found.changed)}
    return Output(counts, metadata=_metadata(found, fleet))


async def _find_unreachable(
    engine: Engine, gateways: set[GatewayAddress], max_connections: int | None
) -> dict[GatewayAddress, str]:
    async with gateway_locks(engine) as locks:
        return await find_unreachable(gateways, max_connections=max_connections, locks=locks)


def _wait_for_second(context: OpExecutionContext) -> None:
    tick = context.run.tags.get(TICK_TAG)
    if tick and not context.run.parent_run_id:
        second = current_settings().discovery_trigger.seconds[0]
        due = datetime.fromisoformat(tick) + timedelta(seconds=second)
        time.sleep(max(0.0, (due - datetime.now(UTC)).total_seconds()))


def _log(context: OpExecutionContext, found: Discovery, fleet: Fleet) -> None:
    meters = {meter.id: meter for meter in fleet.meters}
    for meter_id, reason in found.unreachable.items():
        context.log.warning(f"unreachable: {meters[meter_id]}: {reason}")
    for issue in fleet.issues:
        context.log.warning(f"misconfigured: {issue}")
    if others := other_keys(found.removed):
        context.log.warning(
            f"removed partitions that are not the id of a meter: {quoted(others)}. Partitions follow the table "
            "energy_meters; add a meter there, or with: emm meters add"
        )
    context.log.info(
        f"{found.meters} meters; added {len(found.added)}, removed {len(found.removed)}, changed {len(found.changed)}, "
        f"unreachable {len(found.unreachable)}, issues {len(fleet.issues)}"
    )


def _metadata(found: Discovery, fleet: Fleet) -> dict[str, MetadataValue]:
    meters = {str(meter.id): meter for meter in fleet.meters}
    metadata: dict[str, MetadataValue] = {
        "meters": MetadataValue.int(found.meters),
        "added": _meters([meters.get(key, key) for key in found.added]),
        "removed": MetadataValue.text(_keys(found.removed) or "none"),
        "changed": _meters(found.changed),
        "unreachable": _meters([meters[str(id_)] for id_ in found.unreachable], found.unreachable),
        "misconfigured": table(
            {"table": "string", "row": "string", "column": "string", "reason": "string"},
            [{"table": f.table, "row": f.row, "column": f.column, "reason": f.reason} for f in fleet.issues],
        ),
    }
    if found.kept_for_a_run:
        metadata["removed later"] = MetadataValue.text(
            f"{_keys(found.kept_for_a_run)}: a run in progress refers to them"
        )
    return metadata


def _keys(keys: list[str]) -> str:
    others = other_keys(keys)
    return ", ".join([*(key for key in keys if key not in others), *([quoted(others)] if others else [])])


def _meters(
    meters: list[EnergyMeter | str] | list[EnergyMeter], reasons: dict[int, str] | None = None
) -> MetadataValue:
    columns = {"id": "int", "description": "string", "host:port": "string", "unit": "int", "type": "string"}
    if reasons is not None:
        columns["reason"] = "string"
    rows: list[dict[str, object]] = []
    for meter in meters:
        if isinstance(meter, str):  # a misconfigured meter has a partition, but no record
            rows.append({"id": int(meter)})
            continue
        row = {"id": meter.id, "description": meter.description, "host:port": meter.address}
        reason = (reasons or {}).get(meter.id)
        rows.append({**row, "unit": meter.unit_id, "type": meter.type, "reason": reason})
    return table(columns, rows)


@job(
    name="discovery",
    tags={MAX_RUNTIME_TAG: "300"},
    description="Finds new, changed and removed meters in the database, and keeps one partition for each meter.",
)
def discovery_job() -> None:
    """Run one step; its result is in the metadata of its output."""
    discover()
