"""Partitions: one dynamic partition per enabled meter, whose key is its id; and the partitions to add or delete.

Users can add a partition with any text as its key on the asset's page. Polls ignore keys that are not ids, and the
discovery deletes them.

Dynamic partitions: https://docs.dagster.io/guides/build/partitions-and-backfills/partitioning-assets
"""

from collections.abc import Collection, Iterable

from dagster import AssetKey, DagsterInstance, DynamicPartitionsDefinition

from emm_pipeline.fleet import Fleet

METERS = DynamicPartitionsDefinition(name="meters")
METER_READINGS = AssetKey("meter_readings")

_INT32 = 2**31
_KEY_SHOWN = 40
"""Maximum number of characters of a key in a message."""


def wanted_partitions(fleet: Fleet) -> set[str]:
    """Return the keys of all enabled meters, including misconfigured ones, which are shown as failed."""
    return {str(meter.id) for meter in fleet.meters} | {str(meter_id) for meter_id in fleet.misconfigured}


def partition_changes(wanted: Collection[str], existing: Collection[str]) -> tuple[list[str], list[str]]:
    """Return the keys to add and those to delete, each in the order of the ids."""
    return by_id(set(wanted) - set(existing)), by_id(set(existing) - set(wanted))


def by_id(keys: Iterable[str]) -> list[str]:
    """Sort partition keys as numbers."""
    return sorted(keys, key=lambda key: (len(key), key))


def existing_partitions(instance: DagsterInstance) -> set[str]:
    """Return the keys of Dagster's present partitions."""
    return set(instance.get_dynamic_partitions(str(METERS.name)))


def meter_ids(keys: Iterable[str]) -> set[int]:
    """Return the ids among partition keys."""
    return {int(key) for key in keys if _is_id(key)}


def other_keys(keys: Iterable[str]) -> list[str]:
    """Return the keys that are not ids, sorted."""
    return sorted(key for key in keys if not _is_id(key))


def _is_id(key: str) -> bool:
    """Whether the key is a possible id, in the form in which the discovery writes it."""
    try:
        number = int(key)
    except ValueError:
        return False
    return -_INT32 <= number < _INT32 and str(number) == key


def quoted(keys: Iterable[str]) -> str:
    """Return keys for a message: quoted, cut and separated by commas."""
    return ", ".join(repr(key if len(key) <= _KEY_SHOWN else key[:_KEY_SHOWN] + "…") for key in keys)
