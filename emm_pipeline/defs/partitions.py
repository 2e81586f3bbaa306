"""One dynamic partition per enabled meter, its key the meter's id; and which to add and delete."""

from collections.abc import Collection, Iterable

from dagster import AssetKey, DagsterInstance, DynamicPartitionsDefinition

from emm_pipeline.fleet import Fleet

METERS = DynamicPartitionsDefinition(name="meters")
METER_READINGS = AssetKey("meter_readings")


def wanted_partitions(fleet: Fleet) -> set[str]:
    """Return the keys of all enabled meters, misconfigured ones too: these show as failed, with the reason."""
    return {str(meter.id) for meter in fleet.meters} | {str(meter_id) for meter_id in fleet.misconfigured}


def partition_changes(wanted: Collection[str], existing: Collection[str]) -> tuple[list[str], list[str]]:
    """Return the keys to add and those to delete, each in the order of the ids."""
    return by_id(set(wanted) - set(existing)), by_id(set(existing) - set(wanted))


def by_id(keys: Iterable[str]) -> list[str]:
    """Sort partition keys as numbers."""
    return sorted(keys, key=lambda key: (len(key), key))


def existing_partitions(instance: DagsterInstance) -> set[str]:
    """Return the keys that Dagster knows now."""
    return set(instance.get_dynamic_partitions(str(METERS.name)))
