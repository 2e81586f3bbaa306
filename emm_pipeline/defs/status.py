"""Record the results of a poll: in Dagster, and in the tables `meter_status` and `register_issues`."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from dagster import DagsterInstance, OpExecutionContext

from emm_pipeline.config_db.device_state.failing_meters import load_failing
from emm_pipeline.config_db.device_state.meter_labels import load_labels
from emm_pipeline.config_db.device_state.meter_status import MeterStatus, load_statuses, save_results
from emm_pipeline.config_db.device_state.register_issues import load_issues, save_issues
from emm_pipeline.defs.meter_pages import PageDetails, report_planned, report_read, report_unread
from emm_pipeline.defs.partitions import METER_READINGS, existing_partitions, meter_ids
from emm_pipeline.defs.reading import is_scheduled, values_read
from emm_pipeline.defs.resources import ConfigDatabase, Limits
from emm_pipeline.polling.report_plan import ReportPlan, plan_report, status_interval, statuses_after
from emm_pipeline.polling.results import FleetResult, PollResult, counters_of
from emm_pipeline.settings import current_settings
from emm_pipeline.status import RegisterIssue

if TYPE_CHECKING:
    from sqlalchemy import Engine


@dataclass(frozen=True, slots=True)
class Report:
    """The report of a run, and the status after it of its meters and of all that fail; `issues` are by meter id."""

    plan: ReportPlan
    statuses: Mapping[int, MeterStatus]
    issues: Mapping[int, Collection[RegisterIssue]] = field(default_factory=dict)
    existing: Collection[int] = ()
    """The meters that have a partition."""


def record(
    context: OpExecutionContext,
    results: list[PollResult],
    config_database: ConfigDatabase,
    limits: Limits,
    fleet_results: list[FleetResult],
) -> Report:
    """Record the results in Dagster, in meter_status and in register_issues."""
    unstored = any(result.problems for result in fleet_results)
    planned_by_dagster = context.has_partition_key or context.has_partition_key_range
    # A meter that was removed while it was polled no longer has a partition.
    existing = existing_partitions(context.instance)
    chosen = status_interval(limits.status_interval_s, len(existing))
    interval = timedelta(0) if planned_by_dagster else chosen
    with config_database.open() as engine:
        known = load_issues(engine)
        results = _dated((result for result in results if str(result.id) in existing), known, datetime.now(UTC))
        report = _report_of(engine, context.instance, results, interval)
        plan = report.plan
        if not planned_by_dagster:
            is_red = plan.is_red(scheduled=is_scheduled(context), unstored=unstored)
            report_planned(context, [*plan.recovered, *(plan.failing if is_red else ())])
        stated, observed = ({result.id for result in chosen} for chosen in (plan.read, plan.observed))
        details = PageDetails(
            load_labels(engine, stated | observed),
            values_read(context, stated),
            load_failing(engine, observed) if observed else {},
            current_settings().grafana_url.rstrip("/"),
        )
        report_read(context, plan.read, details)
        report_unread(context, plan.observed, report.statuses, details)
        saved = _save(engine, results, report, known, counters_of(fleet_results))
        return replace(saved, existing=meter_ids(existing))


def _report_of(
    engine: "Engine", instance: DagsterInstance, results: Sequence[PollResult], interval: timedelta
) -> Report:
    """Return what to report of the results, and the statuses after that: of these meters, and of all that fail."""
    before = load_statuses(engine, [result.id for result in results])
    shown_as_failed: set[int] = set()
    if interval:  # otherwise all meters that were read are reported in any case
        storage = instance.event_log_storage
        failed = storage.get_latest_asset_partition_materialization_attempts_without_materializations(METER_READINGS)
        shown_as_failed = meter_ids(failed)
    now = datetime.now(UTC)
    plan = plan_report(results, before, shown_as_failed, interval, now)
    after = {status.id: status for status in statuses_after(results, before, plan, now)}
    return Report(plan, before | after)


def _dated(
    results: Iterable[PollResult], known: Mapping[int, Collection[RegisterIssue]], now: datetime
) -> list[PollResult]:
    """Return the results with the time since when each register has not delivered: `now` if that is not known."""
    found = []
    for result in results:
        if result.issues:
            since = {issue.measurement: issue.since for issue in known.get(result.id, ())}
            issues = (replace(each, since=since.get(each.measurement) or each.since or now) for each in result.issues)
            found.append(replace(result, issues=tuple(issues)))
        else:
            found.append(result)
    return found


def _save(
    engine: "Engine",
    results: Sequence[PollResult],
    report: Report,
    before: Mapping[int, Collection[RegisterIssue]],
    counters: Mapping[int, str],
) -> Report:
    """Save the statuses of the meters with their counters, and which of their registers did not deliver.

    Returns:
        The report, with the issues of all meters.
    """
    save_results(engine, [report.statuses[result.id] for result in results], counters)
    read = [result.id for result in results if result.is_read]
    issues = {result.id: result.issues for result in results if result.issues}
    save_issues(engine, read, issues, before, datetime.now(UTC))
    others = {meter_id: known for meter_id, known in before.items() if meter_id not in set(read)}
    return replace(report, issues=others | issues)
