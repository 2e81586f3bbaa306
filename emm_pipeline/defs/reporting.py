"""Report a poll in Dagster: each meter's status, and the run's metadata."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from dagster import (
    DagsterEventType,
    DagsterInstance,
    MetadataValue,
    TableColumn,
    TableMetadataValue,
    TableRecord,
    TableSchema,
)

from emm_pipeline.defs.partitions import quoted
from emm_pipeline.polling.report_plan import ReportPlan
from emm_pipeline.polling.results import FleetReading, FleetResult, PollResult

if TYPE_CHECKING:
    import pandas as pd

PREVIEW_ROWS = 5
"""Number of rows of the readings in a step's metadata."""

ROWS_SHOWN = 200
"""Maximum number of rows of a table in a run's metadata; the event is one row in the database, read as a whole."""

NAMED = 5
"""Maximum number of failed meters, and of messages about the store, in an error; tables and logs have all."""


def failed_in_run(instance: DagsterInstance, run_id: str) -> set[str] | None:
    """Return the partitions that a run planned but did not read; None if it ended before it reported any."""
    planned: set[str] = set()
    read: set[str] = set()
    events = {DagsterEventType.ASSET_MATERIALIZATION_PLANNED: planned, DagsterEventType.ASSET_MATERIALIZATION: read}
    for entry in instance.all_logs(run_id, of_type=set(events)):
        event = entry.dagster_event
        if event and event.partition and event.event_type in events:
            events[event.event_type].add(event.partition)
    return planned - read if planned or read else None


def table(columns: Mapping[str, str], rows: Sequence[Mapping[str, object]]) -> TableMetadataValue:
    """Return rows as a metadata table; `columns` maps each name to a Dagster column type."""
    records = [TableRecord({name: _cell(row.get(name)) for name in columns}) for row in rows[:ROWS_SHOWN]]
    return MetadataValue.table(records, TableSchema([TableColumn(name, kind) for name, kind in columns.items()]))


def _cell(value: object) -> str | int | float | bool | None:
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)


def reading_metadata(reading: FleetReading, frame: "pd.DataFrame") -> dict[str, MetadataValue]:
    """Return the metadata of a step's readings: number of rows, columns, the first rows, and the outbox file."""
    first = frame.head(PREVIEW_ROWS)
    rows: list[dict[str, object]] = [
        {str(name): None if value != value else value for name, value in row.items()}  # noqa: PLR0124  # NaN
        for row in first.to_dict("records")
    ]
    return {
        "rows": MetadataValue.int(len(frame)),
        "columns": MetadataValue.text(", ".join(frame.columns)),
        "first rows": table(dict.fromkeys(frame.columns, "string"), rows),
        "outbox file": MetadataValue.text(reading.batch or "none"),
    }


def run_metadata(
    results: Sequence[PollResult], fleet_results: Sequence[FleetResult], skipped: Sequence[datetime]
) -> dict[str, MetadataValue]:
    """Return a poll's metadata: number of meters, failed meters with their reasons, duration, delay."""
    failed = [result for result in results if not result.ok]
    metadata: dict[str, MetadataValue] = {
        "meters polled": MetadataValue.int(len(results)),
        "meters failed": MetadataValue.int(len(failed)),
        "points": MetadataValue.int(sum(result.points for result in results)),
        "requests": MetadataValue.int(sum(result.requests for result in results)),
        "sample times": table(
            {
                "due": "string",
                "late (s)": "float",
                "time taken (s)": "float",
                "meters": "int",
                "failed": "int",
                "read at a second attempt": "int",
            },
            [_reading_row(result) for result in fleet_results],
        ),
    }
    if issues := [result.clock_issue for result in fleet_results if result.clock_issue]:
        metadata["wrong clock"] = MetadataValue.text(issues[-1])
    if skipped:
        times = ", ".join(f"{time:%H:%M:%S}" for time in skipped)
        metadata["sample times skipped"] = MetadataValue.text(f"{times}: already past when the run started")
    if failed:
        metadata["failed"] = failed_table(failed)
    if any(result.notices for result in results):
        metadata["findings"] = _notices_table(results)
    return metadata


def _notices_table(results: Sequence[PollResult]) -> TableMetadataValue:
    """Return notices about unsupported registers of meters that were read: a row in the database may be wrong."""
    return table(
        {"id": "int", "description": "string", "host:port": "string", "unit": "int", "notice": "string"},
        [
            {
                "id": result.id,
                "description": result.description,
                "host:port": result.address,
                "unit": result.unit_id,
                "notice": notice,
            }
            for result in results
            for notice in result.notices
        ],
    )


def failed_table(failed: Sequence[PollResult]) -> TableMetadataValue:
    """Return the failed meters as a table with addresses and reasons."""
    return table(
        {"id": "int", "description": "string", "host:port": "string", "unit": "int", "reason": "string"},
        [
            {
                "id": result.id,
                "description": result.description,
                "host:port": result.address,
                "unit": result.unit_id,
                "reason": result.reason,
            }
            for result in failed
        ],
    )


def _reading_row(result: FleetResult) -> dict[str, object]:
    again = result.second_attempt
    return {
        "due": result.due.isoformat(timespec="seconds"),
        "late (s)": round(result.late_s, 3),
        "time taken (s)": round((result.ended - result.started).total_seconds(), 3),
        "meters": len(result.poll_points),
        "failed": len(result.poll_points) - result.meters_read,
        "read at a second attempt": again.meters_read if again else 0,
    }


def describe_failures(
    results: Sequence[PollResult],
    report: ReportPlan,
    fleet_results: Iterable[FleetResult] = (),
    unknown: Sequence[str] = (),
) -> str:
    """Return one line with the first failed meters and their reasons, which name the address, and the store's problems.

    Those whose failure is new come first. `unknown` are partition keys that are no ids.
    """
    new = {each.id for each in report.begin_to_fail}
    failed = sorted(report.failing, key=lambda each: each.id not in new)
    news = f" ({len(report.begin_to_fail)} newly)" if 0 < len(report.begin_to_fail) < len(failed) else ""
    parts = [f"{len(failed)} of {len(results)} meters failed{news}: {_first(map(_describe, failed))}"] if failed else []
    problems = [problem for result in fleet_results for problem in result.problems]
    parts += [f"Store: {_first(problems)}"] if problems else []
    parts += [_first(f"partition {quoted([key])} is not the id of a meter" for key in unknown)] if unknown else []
    return ". ".join(parts)


def _first(texts: Iterable[str]) -> str:
    texts = list(texts)
    more = f"; and {len(texts) - NAMED} more" if len(texts) > NAMED else ""
    return "; ".join(texts[:NAMED]) + more


def _describe(result: PollResult) -> str:
    name = f"meter {result.id}" + (f" ({result.description[:60]})" if result.description else "")
    return f"{name}: {result.reason}"
