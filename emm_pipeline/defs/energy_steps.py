"""The steps of the energy assets: compute intervals, and show their numbers, checks and offenders in Dagster."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetExecutionContext,
    MaterializeResult,
    MetadataValue,
    TimeWindowPartitionsDefinition,
)

from emm_pipeline.config_db.device_state.energy_state import remove_recomputations
from emm_pipeline.defs.energy_partitions import edges_of
from emm_pipeline.defs.reporting import table
from emm_pipeline.defs.resources import ConfigDatabase, ReadingsHistory
from emm_pipeline.energy.periods import Period, moment_of
from emm_pipeline.settings import current_settings

if TYPE_CHECKING:
    from emm_pipeline.energy.quality import Offender
    from emm_pipeline.energy.summary import IntervalSummary, Summary

LATE_TAG = ".dagster/emm.energy-late"
"""Tag of a run over hours whose readings came late."""
ROWS_TAG = ".dagster/emm.energy-rows"
"""Tag with the ids of the rows of `energy_recomputations` that a run removes."""
METADATA_PARTITIONS = 200
"""Most partitions of a run whose own numbers are recorded, because each takes some milliseconds."""


def compute_hours(
    context: AssetExecutionContext,
    config_database: ConfigDatabase,
    history: ReadingsHistory,
    hours: TimeWindowPartitionsDefinition,
) -> MaterializeResult:  # type: ignore[type-arg]
    """Compute the hours of the run's partitions."""
    from emm_pipeline.energy.running import Again, EnergyRun, usual_ms  # noqa: PLC0415 - needs NumPy

    settings = current_settings()
    edges = edges_of(context.partition_keys, hours)
    rows, is_late = context.run.tags.get(ROWS_TAG), LATE_TAG in context.run.tags
    with config_database.open() as engine, history.open() as store:
        usual = usual_ms(settings.poll_trigger.longest_interval())
        run = EnergyRun(store, engine, ZoneInfo(settings.tz), usual)
        for issue in run.knowledge.issues:
            context.log.warning(issue)
        summary = run.hours(
            edges,
            again=(Again.LATE if is_late else Again.NOTED) if rows else None,
            on_part=lambda done, total: context.log.info(f"{done} of {total} hours computed"),
        )
        if rows:
            remove_recomputations(engine, [int(row) for row in rows.split()])
    return _result(context, summary, edges)


def roll_up(
    context: AssetExecutionContext,
    config_database: ConfigDatabase,
    history: ReadingsHistory,
    period: Period,
    whole: TimeWindowPartitionsDefinition,
    parts: TimeWindowPartitionsDefinition,
) -> MaterializeResult:  # type: ignore[type-arg]
    """Compute the days or months of the run's partitions from their hours or days."""
    from emm_pipeline.energy.running import EnergyRun, usual_ms  # noqa: PLC0415 - needs NumPy

    settings = current_settings()
    edges = edges_of(context.partition_keys, whole)
    part_edges = edges_of(parts.get_partition_keys_in_time_window(context.partition_time_window), parts)
    with config_database.open() as engine, history.open() as store:
        usual = usual_ms(settings.poll_trigger.longest_interval())
        run = EnergyRun(store, engine, ZoneInfo(settings.tz), usual)
        summary = run.roll_up(period, edges, part_edges)
    return _result(context, summary, edges)


def _result(context: AssetExecutionContext, summary: "Summary", edges: Sequence[int]) -> MaterializeResult:  # type: ignore[type-arg]
    """Return the result of a run; a run over few partitions also records the numbers of each."""
    keys = context.partition_keys
    if 1 < len(keys) <= METADATA_PARTITIONS:
        for key, start in zip(keys, edges, strict=False):
            if start in summary.intervals:
                context.add_asset_metadata(_numbers(summary.intervals[start]), partition_key=key)
    metadata: dict[str, Any] = {"dagster/row_count": MetadataValue.int(summary.rows)}
    if len(keys) == 1 and edges[0] in summary.intervals:
        metadata |= _numbers(summary.intervals[edges[0]])
        metadata["readings"] = MetadataValue.int(summary.readings)
    return MaterializeResult(metadata=metadata, check_results=_check_results(summary, keys))


def _numbers(interval: "IntervalSummary") -> Mapping[str, Any]:
    return {
        "imported energy (kWh)": MetadataValue.float(round(interval.imported_kwh, 6)),
        "meters": MetadataValue.int(interval.meters),
        "lowest coverage (%)": MetadataValue.float(round(interval.lowest_coverage, 2)),
    }


def _check_results(summary: "Summary", keys: Sequence[str]) -> list[AssetCheckResult]:
    of_time = keys[0] if len(keys) == 1 else f"{keys[0]} to {keys[-1]}"
    results = []
    for name, count in summary.counts.items():
        metadata: dict[str, Any] = {"partition": of_time, "count": MetadataValue.int(count)}
        if summary.listed[name]:
            columns = {"id": "int", "measurement": "string", "time": "string", "reason": "string"}
            metadata["intervals"] = table(columns, [_row(each) for each in summary.listed[name]])
        intervals = "1 interval" if count == 1 else f"{count} intervals"
        results.append(
            AssetCheckResult(
                check_name=name,
                passed=not count,
                severity=AssetCheckSeverity.WARN,
                metadata=metadata,
                description=f"{intervals} of {of_time}" if count else None,
            )
        )
    return results


def _row(offender: "Offender") -> dict[str, object]:
    time = moment_of(offender.start, ZoneInfo(current_settings().tz))
    return {
        "id": offender.meter_id,
        "measurement": offender.measurement,
        "time": f"{time:%Y-%m-%d %H:%M}",
        "reason": offender.reason,
    }
