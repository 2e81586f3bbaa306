"""Writes asset events of a run straight into the event log, in batches: materializations, observations, planned events.

The public method `context.log_event` needs a statement and at least 1 ms per event; a run over 1000 meters would take
seconds longer. `defs` decides which events to write.

Asset events: https://docs.dagster.io/guides/build/assets/metadata-and-tags
"""

import time
from collections.abc import Iterable
from typing import Any

from dagster import (
    AssetKey,
    AssetMaterialization,
    AssetObservation,
    DagsterEvent,
    DagsterEventType,
    EventLogEntry,
    OpExecutionContext,
)

from emm_pipeline.dagster_ext.event_log import QuickEventLogStorage
from emm_pipeline.dagster_ext.event_text import AssetEvent, EntryOf, EventTexts
from emm_pipeline.dagster_ext.internals import (
    AssetMaterializationPlannedData,
    AssetObservationData,
    StepMaterializationData,
    store_planned_batch,
)

EVENTS_PER_STATEMENT = 500


def write_materializations(
    context: OpExecutionContext, materializations: Iterable[tuple[str, AssetMaterialization]]
) -> None:
    """Write materializations, each with the message of its event, as events of the current step."""
    kind = DagsterEventType.ASSET_MATERIALIZATION
    _write(
        context, materializations, lambda each, message: _entry(context, kind, StepMaterializationData(each), message)
    )


def write_observations(context: OpExecutionContext, observations: Iterable[tuple[str, AssetObservation]]) -> None:
    """Write observations, each with the message of its event, as events of the current step."""
    kind = DagsterEventType.ASSET_OBSERVATION
    _write(context, observations, lambda each, message: _entry(context, kind, AssetObservationData(each), message))


def write_planned(context: OpExecutionContext, asset_key: AssetKey, partitions: Iterable[str]) -> None:
    """Write that the run was to materialize partitions: they are shown as failed once the run fails.

    Dagster writes these events itself, but only for runs that it resolves to partitions.
    """
    kind = DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    planned = (AssetMaterializationPlannedData(asset_key, partition=partition) for partition in partitions)
    entries = [_entry(context, kind, each, f"Was to read meter {each.partition}.") for each in planned]
    for start in range(0, len(entries), EVENTS_PER_STATEMENT):
        store_planned_batch(context.instance, entries[start : start + EVENTS_PER_STATEMENT])


def _write(context: OpExecutionContext, events: Iterable[tuple[str, AssetEvent]], entry_of: EntryOf) -> None:
    """Write events, each with its message.

    Dagster's own method writes the last one, because it also updates the row of the asset.
    """
    events = list(events)
    if not events:
        return
    log = context.instance.event_log_storage
    if not isinstance(log, QuickEventLogStorage):
        raise TypeError(f"Dagster's events are not in EMM's event log but in {type(log).__name__}")
    *others, (last_message, last) = events
    texts = EventTexts(entry_of, type(last), last.asset_key)
    for start in range(0, len(others), EVENTS_PER_STATEMENT):
        some = others[start : start + EVENTS_PER_STATEMENT]
        log.store_similar_events(texts.example, [(each.partition, texts.of(each, message)) for message, each in some])
    log.store_event_batch([entry_of(last, last_message)])


def _entry(context: OpExecutionContext, kind: DagsterEventType, data: Any, message: str) -> EventLogEntry:
    step = context.get_step_execution_context().step
    event = DagsterEvent(
        event_type_value=kind.value,
        job_name=context.job_name,
        step_handle=step.handle,
        step_kind_value=step.kind.value,
        event_specific_data=data,
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
