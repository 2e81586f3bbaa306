"""The sources of a poll's configuration: upstream assets of `meter_readings`, which the discovery materializes.

A materialization shows when the rows last changed, and their number. The discovery reports only changes.

External assets: https://docs.dagster.io/guides/build/assets/external-assets
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple
from importlib.metadata import version

from dagster import AssetIn, AssetKey, AssetMaterialization, AssetSpec, DagsterInstance, MetadataValue, Nothing

import emm_pipeline
from emm_pipeline.fleet import Fleet, MeterType

DATA_VERSION_TAG = "dagster/data_version"

_GROUP = "configuration"
ENERGY_METERS = AssetSpec(
    "energy_meters",
    group_name=_GROUP,
    kinds={"postgres", "table"},
    description="The devices: the table energy_meters of the configuration database. `emm meters` edits it.",
)
REGISTERS = AssetSpec(
    "registers",
    group_name=_GROUP,
    kinds={"postgres", "table"},
    description="The registers of each type: the table registers of the configuration database. `emm types` and "
    "`emm registers` edit it.",
)
CATALOGUE = AssetSpec(
    "catalogue",
    group_name=_GROUP,
    kinds={"csv"},
    description="The register tables of known devices that EMM has: `emm types install` copies them to registers.",
)
SPECS = (CATALOGUE, ENERGY_METERS, REGISTERS.replace_attributes(deps=[CATALOGUE.key]))
UPSTREAM: Mapping[str, AssetIn] = {
    spec.key.path[-1]: AssetIn(spec.key, dagster_type=Nothing) for spec in (ENERGY_METERS, REGISTERS)
}


def changed_assets(instance: DagsterInstance, fleet: Fleet) -> Iterator[AssetMaterialization]:
    """Yield a materialization of each asset whose content has changed since the last one."""
    registers = sum(len(meter_type.registers) for meter_type in fleet.types.values())
    rows = {"types": len(fleet.types), "dagster/row_count": registers}
    contents: tuple[tuple[AssetKey, str, Mapping[str, int]], ...] = (
        (ENERGY_METERS.key, _digest(map(astuple, fleet.meters)), {"dagster/row_count": len(fleet.meters)}),
        (REGISTERS.key, _digest(map(_content, fleet.types.values())), rows),
        (CATALOGUE.key, f"{version('emm-pipeline')} of {emm_pipeline.BUILD_DATE}", {}),
    )
    for key, data_version, counts in contents:
        if _last_version(instance, key) != data_version:
            metadata = {name: MetadataValue.int(count) for name, count in counts.items()}
            yield AssetMaterialization(key, metadata=metadata, tags={DATA_VERSION_TAG: data_version})


def _content(meter_type: MeterType) -> object:
    return meter_type.name, [astuple(register) for register in meter_type.registers], meter_type.unusable


def _digest(rows: Iterable[object]) -> str:
    return hashlib.sha256("\n".join(sorted(map(repr, rows))).encode()).hexdigest()[:16]


def _last_version(instance: DagsterInstance, key: AssetKey) -> str | None:
    entry = instance.get_latest_materialization_event(key)
    materialization = entry.asset_materialization if entry else None
    return (materialization.tags or {}).get(DATA_VERSION_TAG) if materialization else None
