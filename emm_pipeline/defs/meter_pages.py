"""The content of each meter's page in Dagster (its partition): status, reason, since when, and address.

Asset events: https://docs.dagster.io/guides/build/assets/metadata-and-tags
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from dagster import AssetMaterialization, AssetObservation, MetadataValue, OpExecutionContext

from emm_pipeline.config_db.device_state.meter_status import MeterStatus
from emm_pipeline.dagster_ext.event_writing import write_materializations, write_observations, write_planned
from emm_pipeline.defs.partitions import METER_READINGS
from emm_pipeline.polling.results import PollResult
from emm_pipeline.status import State, decide_read


def report_read(
    context: OpExecutionContext, results: Sequence[PollResult], labels: Mapping[int, Mapping[str, str]]
) -> None:
    """Report meters as read: a materialization of each one's partition."""
    write_materializations(
        context,
        [
            (
                f"Read meter {result.id}.",
                AssetMaterialization(
                    METER_READINGS,
                    partition=str(result.id),
                    metadata=_read_metadata(result) | _label_metadata(labels.get(result.id, {})),
                ),
            )
            for result in results
        ],
    )


def _label_metadata(labels: Mapping[str, str]) -> dict[str, MetadataValue]:
    return {f"label {name}": MetadataValue.text(text) for name, text in labels.items()}


def _metadata(result: PollResult, state: State, read_at: datetime | None) -> dict[str, MetadataValue]:
    """Return the metadata of every event, so that none of an older event is left when Dagster's page merges them."""
    metadata: dict[str, MetadataValue] = {
        "status": MetadataValue.text(state.value),
        "points": MetadataValue.int(result.points),
        "dagster/row_count": MetadataValue.int(result.points),
        "requests": MetadataValue.int(result.requests),
        "latency (ms)": MetadataValue.float(round(result.latency_ms, 1)),
    }
    texts = {"type": result.type, "description": result.description}
    if result.address:
        texts["address"] = f"{result.address} unit {result.unit_id}"
    metadata |= {name: MetadataValue.text(text) for name, text in texts.items() if text}
    if read_at:
        metadata["read at"] = MetadataValue.timestamp(read_at)
    return metadata


def _read_metadata(result: PollResult) -> dict[str, MetadataValue]:
    status = decide_read(result.issues)
    metadata = _metadata(result, status.state, result.read_at)
    if status.reason:
        metadata["reason"] = MetadataValue.text(status.reason)
    return metadata


def report_planned(context: OpExecutionContext, results: Sequence[PollResult]) -> None:
    """Report that this run was to read these meters' partitions. If the run fails, Dagster shows them as failed."""
    write_planned(context, METER_READINGS, [str(result.id) for result in results])


def report_failing(
    context: OpExecutionContext, results: Sequence[PollResult], statuses: Mapping[int, MeterStatus]
) -> None:
    """State on the pages of meters' partitions why they fail and since when."""
    observations = [
        (
            f"Meter {result.id} fails: {result.reason}",
            AssetObservation(
                METER_READINGS, partition=str(result.id), metadata=_failing_metadata(result, statuses[result.id])
            ),
        )
        for result in results
    ]
    write_observations(context, observations)


def _failing_metadata(result: PollResult, status: MeterStatus) -> dict[str, MetadataValue]:
    metadata = _metadata(result, State.FAILING, status.last_read_at)
    metadata["reason"] = MetadataValue.text(result.reason or "")
    if status.failing_since:
        metadata["failing since"] = MetadataValue.timestamp(status.failing_since)
    return metadata
