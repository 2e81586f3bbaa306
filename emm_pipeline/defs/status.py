"""Decide what a poll reports in Dagster, and save its results in the tables `meter_status` and `register_issues`."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from dagster import DagsterInstance

from emm_pipeline.config_db.device_state.meter_status import MeterStatus, load_statuses, save_results
from emm_pipeline.config_db.device_state.register_issues import load_issues, save_issues
from emm_pipeline.defs.partitions import METER_READINGS, meter_ids
from emm_pipeline.polling.report_plan import ReportPlan, plan_report, statuses_after
from emm_pipeline.polling.results import PollResult
from emm_pipeline.status import RegisterIssue

if TYPE_CHECKING:
    from sqlalchemy import Engine


@dataclass(frozen=True, slots=True)
class Report:
    """The report of a run, and the status of all meters after it; `issues` are by meter id."""

    plan: ReportPlan
    statuses: Mapping[int, MeterStatus]
    issues: Mapping[int, Collection[RegisterIssue]] = field(default_factory=dict)
    existing: Collection[int] = ()
    """The meters that have a partition."""


def report_of(
    engine: "Engine", instance: DagsterInstance, results: Sequence[PollResult], interval: timedelta
) -> Report:
    """Return what to report of the results, and the statuses of the meters to save after that."""
    before = load_statuses(engine)
    shown_as_failed: set[int] = set()
    if interval:  # otherwise all meters that were read are reported in any case
        storage = instance.event_log_storage
        failed = storage.get_latest_asset_partition_materialization_attempts_without_materializations(METER_READINGS)
        shown_as_failed = meter_ids(failed)
    now = datetime.now(UTC)
    plan = plan_report(results, before, shown_as_failed, interval, now)
    after = {status.id: status for status in statuses_after(results, before, plan, now)}
    return Report(plan, before | after)


def save(engine: "Engine", results: Sequence[PollResult], report: Report) -> Report:
    """Save the statuses of the meters, and which of their registers did not deliver.

    Returns:
        The report, with the issues of all meters.
    """
    save_results(engine, [report.statuses[result.id] for result in results])
    read = [result.id for result in results if result.is_read]
    before = load_issues(engine)
    issues = {result.id: result.issues for result in results if result.issues}
    save_issues(engine, read, issues, before, datetime.now(UTC))
    others = {meter_id: known for meter_id, known in before.items() if meter_id not in set(read)}
    return replace(report, issues=others | issues)
