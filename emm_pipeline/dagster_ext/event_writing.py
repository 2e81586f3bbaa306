"""Writes asset events of a run directly to the event log: materializations in batches, and planned events.

The public method `context.log_event` needs a statement and at least 1 ms per event; a run over 1000 meters would take
seconds longer. `defs` decides which events to write.

Asset events: https://docs.dagster.io/guides/build/assets/metadata-and-tags
"""

import time
from collections.abc import Iterable

from dagster import (
    AssetKey,
    AssetMaterialization,
    DagsterEvent,
    DagsterEventType,
    EventLogEntry,
    OpExecutionContext,
)

from emm_pipeline.dagster_ext.internals import AssetMaterializationPlannedData, StepMaterializationData

EVENTS_PER_STATEMENT = 500


def write_materializations(
    context: OpExecutionContext, materializations: Iterable[tuple[str, AssetMaterialization]]
) -> None:
    """Write materializations as events of the current step, each with its message."""
    entries = [_entry(context, message, materialization) for message, materialization in materializations]
    for start in range(0, len(entries), EVENTS_PER_STATEMENT):
        context.instance.event_log_storage.store_event_batch(entries[start : start + EVENTS_PER_STATEMENT])


def _entry(context: OpExecutionContext, message: str, materialization: AssetMaterialization) -> EventLogEntry:
    step = context.get_step_execution_context().step
    event = DagsterEvent(
        event_type_value=DagsterEventType.ASSET_MATERIALIZATION.value,
        job_name=context.job_name,
        step_handle=step.handle,
        step_kind_value=step.kind.value,
        event_specific_data=StepMaterializationData(materialization),
        message=message,
    )
    return EventLogEntry(  # type: ignore[no-untyped-call]  # Dagster's own
        error_info=None,
        level="info",
        user_message=message,
        run_id=context.run_id,
        timestamp=time.time(),
        step_key=step.key,
        job_name=context.job_name,
        dagster_event=event,
    )


def write_planned(context: OpExecutionContext, asset_key: AssetKey, partitions: Iterable[str]) -> None:
    """Record that the run was planned to materialize partitions, so that they are shown as failed if the run fails.

    Dagster itself writes these events only for runs that it resolves to partitions.
    """
    step_key = str(context.get_step_execution_context().step.key)
    for partition in partitions:
        planned = AssetMaterializationPlannedData(asset_key, partition=partition)
        event = DagsterEvent.build_asset_materialization_planned_event(context.job_name, step_key, planned)
        context.instance.report_dagster_event(event, run_id=context.run_id)
