"""What a person sees of a poll in Dagster: each meter's status, and the run's metadata."""

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from dagster import (
    AssetMaterialization,
    DagsterEvent,
    DagsterEventType,
    DagsterInstance,
    MetadataValue,
    OpExecutionContext,
    TableColumn,
    TableMetadataValue,
    TableRecord,
    TableSchema,
)
from dagster._core.events import AssetMaterializationPlannedData, StepMaterializationData
from dagster._core.events.log import EventLogEntry

from emm_pipeline.defs.partitions import METER_READINGS
from emm_pipeline.polling.results import FleetResult, PollResult

EVENTS_PER_STATEMENT = 500

ROWS_SHOWN = 200
"""Rows of a table in a run's metadata: an event is one row in the database, and read as a whole."""

NAMED = 5
"""Failed meters, or problems of the store, that an error's text names; tables and logs have the rest."""


def state_read(context: OpExecutionContext, outcomes: Sequence[PollResult]) -> None:
    """State that meters were read: their partitions are fine.

    As the events of `context.log_event` would, but in batches: a statement each costs 1 ms and more per meter.
    """
    step = context.get_step_execution_context().step
    entries = []
    for outcome in outcomes:
        materialization = AssetMaterialization(METER_READINGS, partition=str(outcome.id), metadata=_metadata(outcome))
        event = DagsterEvent(
            event_type_value=DagsterEventType.ASSET_MATERIALIZATION.value,
            job_name=context.job_name,
            step_handle=step.handle,
            step_kind_value=step.kind.value,
            event_specific_data=StepMaterializationData(materialization),
            message=f"Read meter {outcome.id}.",
        )
        entries.append(
            EventLogEntry(  # type: ignore[no-untyped-call]  # Dagster's own
                error_info=None,
                level="info",
                user_message=event.message or "",
                run_id=context.run_id,
                timestamp=time.time(),
                step_key=step.key,
                job_name=context.job_name,
                dagster_event=event,
            )
        )
    for start in range(0, len(entries), EVENTS_PER_STATEMENT):
        context.instance.event_log_storage.store_event_batch(entries[start : start + EVENTS_PER_STATEMENT])


def _metadata(outcome: PollResult) -> dict[str, MetadataValue]:
    metadata: dict[str, MetadataValue] = {
        "address": MetadataValue.text(f"{outcome.address} unit {outcome.unit_id}"),
        "points": MetadataValue.int(outcome.points),
        "requests": MetadataValue.int(outcome.requests),
        "latency (ms)": MetadataValue.float(round(outcome.latency_ms, 1)),
    }
    if outcome.description:
        metadata["description"] = MetadataValue.text(outcome.description)
    if outcome.read_at:
        metadata["read at"] = MetadataValue.timestamp(outcome.read_at)
    return metadata


def state_failed(context: OpExecutionContext, outcome: PollResult) -> None:
    """State that a meter's partition was to be read in this run; it shows as failed once the run fails.

    Dagster plans events itself for runs over partitions only; a scheduled poll has none.
    """
    planned = DagsterEvent.build_asset_materialization_planned_event(
        context.job_name,
        str(context.get_step_execution_context().step.key),
        AssetMaterializationPlannedData(METER_READINGS, partition=str(outcome.id)),
    )
    context.instance.report_dagster_event(planned, run_id=context.run_id)


def failed_in_run(instance: DagsterInstance, run_id: str) -> set[str] | None:
    """Return the partitions that a run was to read and did not; None if it ended before it stated any."""
    planned: set[str] = set()
    read: set[str] = set()
    events = {DagsterEventType.ASSET_MATERIALIZATION_PLANNED: planned, DagsterEventType.ASSET_MATERIALIZATION: read}
    for entry in instance.all_logs(run_id, of_type=set(events)):
        event = entry.dagster_event
        if event and event.partition and event.event_type in events:
            events[event.event_type].add(event.partition)
    return planned - read if planned or read else None


def table(columns: Mapping[str, str], rows: Sequence[Mapping[str, object]]) -> TableMetadataValue:
    """Return rows as a metadata table; `columns` is name to Dagster column type."""
    records = [TableRecord({name: _cell(row.get(name)) for name in columns}) for row in rows[:ROWS_SHOWN]]
    return MetadataValue.table(records, TableSchema([TableColumn(name, kind) for name, kind in columns.items()]))


def _cell(value: object) -> str | int | float | bool | None:
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)


def run_metadata(
    outcomes: Sequence[PollResult], reports: Sequence[FleetResult], skipped: Sequence[datetime]
) -> dict[str, MetadataValue]:
    """Return what a person wants to know of a poll: how many, which failed and why, how long, how late."""
    failed = [outcome for outcome in outcomes if not outcome.ok]
    metadata: dict[str, MetadataValue] = {
        "meters polled": MetadataValue.int(len(outcomes)),
        "meters failed": MetadataValue.int(len(failed)),
        "points": MetadataValue.int(sum(outcome.points for outcome in outcomes)),
        "requests": MetadataValue.int(sum(outcome.requests for outcome in outcomes)),
        "samples": table(
            {
                "due": "string",
                "late (s)": "float",
                "time taken (s)": "float",
                "meters": "int",
                "failed": "int",
                "read at a second attempt": "int",
            },
            [_sample_row(report) for report in reports],
        ),
    }
    if skipped:
        times = ", ".join(f"{time:%H:%M:%S}" for time in skipped)
        metadata["samples skipped"] = MetadataValue.text(f"{times}: already past when the run came up")
    if failed:
        metadata["failed"] = failed_table(failed)
    if any(outcome.notices for outcome in outcomes):
        metadata["findings"] = _notices_table(outcomes)
    return metadata


def _notices_table(outcomes: Sequence[PollResult]) -> TableMetadataValue:
    """Return what the units refuse: the meters are fine, and a row of `registers` or `meter_types` may be wrong."""
    return table(
        {"id": "int", "description": "string", "host:port": "string", "unit": "int", "notice": "string"},
        [
            {
                "id": outcome.id,
                "description": outcome.description,
                "host:port": outcome.address,
                "unit": outcome.unit_id,
                "notice": notice,
            }
            for outcome in outcomes
            for notice in outcome.notices
        ],
    )


def failed_table(failed: Sequence[PollResult]) -> TableMetadataValue:
    """Return the failed meters: which, where, and why."""
    return table(
        {"id": "int", "description": "string", "host:port": "string", "unit": "int", "reason": "string"},
        [
            {
                "id": outcome.id,
                "description": outcome.description,
                "host:port": outcome.address,
                "unit": outcome.unit_id,
                "reason": outcome.reason,
            }
            for outcome in failed
        ],
    )


def _sample_row(report: FleetResult) -> dict[str, object]:
    again = report.second_attempt
    return {
        "due": report.due.isoformat(timespec="seconds"),
        "late (s)": round(report.late_s, 3),
        "time taken (s)": round((report.ended - report.started).total_seconds(), 3),
        "meters": len(report.records),
        "failed": sum(not record.ok for record in report.records),
        "read at a second attempt": sum(record.ok for record in again.records) if again else 0,
    }


def describe_failures(outcomes: Iterable[PollResult], reports: Iterable[FleetResult] = ()) -> str:
    """Return one line on the first failed meters, each with its reason, which names the address; and on the store."""
    outcomes = list(outcomes)
    failed = [outcome for outcome in outcomes if not outcome.ok]
    parts = [f"{len(failed)} of {len(outcomes)} meters failed: {_first(map(_describe, failed))}"] if failed else []
    problems = [problem for report in reports for problem in report.problems]
    return ". ".join([*parts, *([f"Store: {_first(problems)}"] if problems else [])])


def _first(texts: Iterable[str]) -> str:
    texts = list(texts)
    more = f"; and {len(texts) - NAMED} more" if len(texts) > NAMED else ""
    return "; ".join(texts[:NAMED]) + more


def _describe(outcome: PollResult) -> str:
    name = f"meter {outcome.id}" + (f" ({outcome.description[:60]})" if outcome.description else "")
    return f"{name}: {outcome.reason}"
