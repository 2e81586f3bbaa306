"""The content of each meter's page in Dagster (its partition): status, reason, since when, address, last values.

Asset events: https://docs.dagster.io/guides/build/assets/metadata-and-tags
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote

from dagster import AssetMaterialization, AssetObservation, MetadataValue, OpExecutionContext

from emm_pipeline.config_db.device_state.meter_status import MeterStatus
from emm_pipeline.dagster_ext.event_writing import write_materializations, write_observations, write_planned
from emm_pipeline.defs.partitions import METER_READINGS
from emm_pipeline.failing import FailingMeter
from emm_pipeline.polling.results import PollResult
from emm_pipeline.status import State, decide_read

METER_DASHBOARD = "emm-meter"
"""The uid of Grafana's dashboard of a meter (`dashboards/meter.py`)."""


@dataclass(frozen=True, slots=True)
class PageDetails:
    """Content of the pages in addition to the results of a run, by meter id; `grafana_url` is empty without Grafana."""

    labels: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    last_values: Mapping[int, str] = field(default_factory=dict)
    failing: Mapping[int, FailingMeter] = field(default_factory=dict)
    grafana_url: str = ""


def report_read(context: OpExecutionContext, results: Sequence[PollResult], details: PageDetails) -> None:
    """Report meters as read: a materialization of each one's partition."""
    write_materializations(
        context,
        [
            (
                f"Read meter {result.id}.",
                AssetMaterialization(
                    METER_READINGS,
                    partition=str(result.id),
                    metadata=_read_metadata(result, details),
                ),
            )
            for result in results
        ],
    )


def _metadata(
    result: PollResult, state: State, read_at: datetime | None, details: PageDetails
) -> dict[str, MetadataValue]:
    """Return the metadata of every event, so that none of an older event is left when Dagster's page merges them.

    It contains no numbers: the plots on the asset's page would join those of different meters.
    """
    metadata: dict[str, MetadataValue] = {
        "status": MetadataValue.text(state.value),
        "points": MetadataValue.text(str(result.points)),
        "requests": MetadataValue.text(str(result.requests)),
        "latency": MetadataValue.text(f"{result.latency_ms:.1f} ms"),
    }
    texts = {"type": result.type, "description": result.description}
    if result.address:
        texts["address"] = f"{result.address} unit {result.unit_id}"
    metadata |= {name: MetadataValue.text(text) for name, text in texts.items() if text}
    if read_at:
        metadata["read at"] = MetadataValue.timestamp(read_at)
    if details.grafana_url:
        shown = quote(result.description or str(result.id), safe="")
        metadata["values over time"] = MetadataValue.url(f"{details.grafana_url}/d/{METER_DASHBOARD}?var-meter={shown}")
    return metadata


def _read_metadata(result: PollResult, details: PageDetails) -> dict[str, MetadataValue]:
    status = decide_read(result.issues)
    metadata = _metadata(result, status.state, result.read_at, details)
    if status.reason:
        metadata["reason"] = MetadataValue.text(status.reason)
    if status.since:
        metadata["degraded since"] = MetadataValue.timestamp(status.since)
    if values := details.last_values.get(result.id):
        # With their time: if the meter fails later, its page continues to show them.
        metadata["last values"] = MetadataValue.text(f"{values} ({result.read_at:%Y-%m-%d %H:%M:%S} UTC)")
    labels = details.labels.get(result.id, {})
    return metadata | {f"label {name}": MetadataValue.text(text) for name, text in labels.items()}


def report_planned(context: OpExecutionContext, results: Sequence[PollResult]) -> None:
    """Report that this run was to read these meters' partitions. If the run fails, Dagster shows them as failed."""
    write_planned(context, METER_READINGS, [str(result.id) for result in results])


def report_unread(
    context: OpExecutionContext,
    results: Sequence[PollResult],
    statuses: Mapping[int, MeterStatus],
    details: PageDetails,
) -> None:
    """State on the pages of meters' partitions why they fail or are asleep, since when, and when they are read next."""
    observations = [
        (
            f"Meter {result.id} {'is asleep' if result.asleep else 'fails'}: {result.asleep or result.reason}",
            AssetObservation(
                METER_READINGS,
                partition=str(result.id),
                metadata=_unread_metadata(result, statuses[result.id], details),
            ),
        )
        for result in results
    ]
    write_observations(context, observations)


def _unread_metadata(result: PollResult, status: MeterStatus, details: PageDetails) -> dict[str, MetadataValue]:
    state = State.ASLEEP if result.asleep else State.FAILING
    metadata = _metadata(result, state, status.last_read_at, details)
    metadata["reason"] = MetadataValue.text(result.asleep or result.reason or "")
    if status.failing_since:
        metadata[f"{state} since"] = MetadataValue.timestamp(status.failing_since)
    failing = details.failing.get(result.id)
    if failing and failing.next_attempt_at:
        metadata["next attempt"] = MetadataValue.timestamp(failing.next_attempt_at)
    else:
        metadata["next attempt"] = MetadataValue.text("with the next poll")
    return metadata
