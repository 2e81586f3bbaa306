"""One dynamic partition per enabled meter, its key the meter's id; and which to add and delete."""

import re
from collections.abc import Collection, Iterable

from dagster import AssetKey, DagsterInstance, DynamicPartitionsDefinition

from emm_pipeline.fleet import Fleet

METERS = DynamicPartitionsDefinition(name="meters")
METER_READINGS = AssetKey("meter_readings")

LARGEST_ID = 2**31 - 1
"""What PostgreSQL's integer holds."""
_AN_ID = re.compile(r"0|-?[1-9][0-9]{0,9}")


def wanted_partitions(fleet: Fleet) -> set[str]:
    """Return the keys of all enabled meters, misconfigured ones too: these show as failed, with the reason."""
    return {str(meter.id) for meter in fleet.meters} | {str(meter_id) for meter_id in fleet.misconfigured}


def partition_changes(wanted: Collection[str], existing: Collection[str]) -> tuple[list[str], list[str]]:
    """Return the keys to add and those to delete, each in the order of the ids."""
    return by_id(set(wanted) - set(existing)), by_id(set(existing) - set(wanted))


def by_id(keys: Iterable[str]) -> list[str]:
    """Sort partition keys as numbers."""
    return sorted(keys, key=lambda key: (len(key), key))


def meter_ids(keys: Iterable[str]) -> set[int]:
    """Return the ids that the keys are; a key that is none, which anybody can add in Dagster, is left out."""
    return {int(key) for key in keys if _AN_ID.fullmatch(key) and -LARGEST_ID <= int(key) <= LARGEST_ID}


def existing_partitions(instance: DagsterInstance) -> set[str]:
    """Return the keys that Dagster knows now."""
    return set(instance.get_dynamic_partitions(str(METERS.name)))
