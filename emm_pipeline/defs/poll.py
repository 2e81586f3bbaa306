"""The poll: the asset `meter_readings`, a partition per meter, and the job that reads all meters in one run.

    sampling_times -> (for each due second) read -> decode -> load -> conclude

A scheduled run carries no partition: it takes the meters of its shard from the database and states each one's
outcome itself. A run for one partition, or a backfill, reads just those, once and now.
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from dagster import (
    AssetObservation,
    BackfillPolicy,
    DynamicOut,
    DynamicOutput,
    Failure,
    In,
    Nothing,
    OpExecutionContext,
    Out,
    Output,
    define_asset_job,
    graph_asset,
    op,
)

from emm_pipeline.defs.partitions import METER_READINGS, METERS, existing_partitions
from emm_pipeline.defs.reading import due_times, plan_run, read_again, read_fleet, unscheduled
from emm_pipeline.defs.reporting import (
    describe_failures,
    failed_table,
    run_metadata,
    state_failed,
    state_read,
)
from emm_pipeline.defs.resources import ConfigDatabase, Limits, Readings
from emm_pipeline.defs.runs import MAX_RUNTIME_TAG
from emm_pipeline.defs.status import results_to_report, save_statuses
from emm_pipeline.polling import pipeline
from emm_pipeline.polling.pipeline import FleetReading
from emm_pipeline.polling.plan import PollPlan
from emm_pipeline.polling.results import FleetResult, PollResult, results_of
from emm_pipeline.polling.timing import UNSCHEDULED_SAMPLE, SampleTime


@op(
    out={"plan": Out(PollPlan), "skipped": Out(list), "samples": DynamicOut(SampleTime)}, tags={"dagster/priority": "0"}
)
def sampling_times(
    context: OpExecutionContext, config_database: ConfigDatabase
) -> Iterator[Output[Any] | DynamicOutput[SampleTime]]:
    """Take the meters from the database, and the due seconds from the trigger."""
    plan = plan_run(context, config_database)
    samples, skipped = due_times(context, plan)
    context.log.info(f"{len(plan.meters)} meters to read, {len(samples)} times")
    if skipped:
        context.log.warning(f"{len(skipped)} samples were already past when the run came up: skipped")
    yield Output(plan, "plan")
    yield Output(skipped, "skipped")
    for sample in samples:
        yield DynamicOutput(sample, f"at_{sample.due:%H_%M_%S}", output_name="samples")


@op(out=Out(FleetReading), tags={"dagster/priority": "1"})
def read(
    context: OpExecutionContext, sample: SampleTime, plan: PollPlan, config_database: ConfigDatabase, limits: Limits
) -> FleetReading:
    """Wait for the sample's second, then read every meter side by side."""
    time.sleep(max(0.0, (sample.due - datetime.now(UTC)).total_seconds()))
    return read_fleet(context, sample, plan, config_database, limits)


@op(tags={"dagster/priority": "2"})
def decode(context: OpExecutionContext, polled: FleetReading, plan: PollPlan) -> Any:
    """Decode the registers into a DataFrame: time, id, description, measurement, unit, value."""
    readings = pipeline.decode(plan, polled.samples)
    context.log.info(f"{len(readings)} points")
    return readings


@op(out=Out(FleetResult), tags={"dagster/priority": "3"})
def load(context: OpExecutionContext, polled: FleetReading, frame: Any, readings: Readings) -> FleetResult:
    """Store the points, and how each meter's reading went: in the outbox first, then in the store."""
    return _load(context, polled, frame, readings)


def _load(context: OpExecutionContext, polled: FleetReading, frame: Any, readings: Readings) -> FleetResult:
    with readings.open() as delivery:
        report = pipeline.load(delivery, polled, frame, context.run_id)
    for problem in report.store_problems:
        context.log.error(problem)
    return report


@op(
    out=Out(Nothing, is_required=False),
    # Of any type: executed again alone, it may get none of them (step_files.py).
    ins={"reports": In(Any), "plan": In(Any), "skipped": In(Any)},
    tags={"dagster/priority": "4"},
)
def conclude(
    context: OpExecutionContext,
    reports: list[FleetResult],
    plan: PollPlan,
    skipped: list[datetime],
    config_database: ConfigDatabase,
    readings: Readings,
    limits: Limits,
) -> Iterator[Output[None]]:
    """State each meter's outcome; fail the run if one failed, naming it, or if the store did not take its points.

    Meters that failed in the last sample get a second attempt before. Executed again alone ("re-execute from
    failure"), it first polls anew what failed.
    """
    if _is_conclude_alone(context):
        plan = plan_run(context, config_database)
        polled = read_fleet(context, unscheduled(datetime.now(UTC)), plan, config_database, limits)
        reports = [_load(context, polled, pipeline.decode(plan, polled.samples), readings)]
        skipped = []
    *earlier, last = sorted(reports, key=lambda report: report.due)
    if again := read_again(context, last, plan, config_database, limits):
        second = _load(context, again, pipeline.decode(plan, again.samples), readings)
        reports = [*earlier, replace(last, second_attempt=second)]
    outcomes = results_of(plan, reports)
    _state(context, outcomes, config_database, limits)
    # An observation of the asset as a whole: shown with the run, and plotted over time on the asset's page.
    context.log_event(AssetObservation(METER_READINGS, metadata=run_metadata(outcomes, reports, skipped)))
    failed = [outcome for outcome in outcomes if not outcome.ok]
    if failed or any(report.problems for report in reports):
        raise Failure(
            describe_failures(outcomes, reports), metadata={"failed": failed_table(failed)}, allow_retries=False
        )
    # An output would be one more materialization, of no partition; a generator may leave it out.
    yield from ()


def _is_conclude_alone(context: OpExecutionContext) -> bool:
    selected = context.run.step_keys_to_execute
    return bool(context.run.parent_run_id and selected) and all(key.endswith(".conclude") for key in selected or ())


def _state(
    context: OpExecutionContext, outcomes: list[PollResult], config_database: ConfigDatabase, limits: Limits
) -> None:
    """Record the outcomes in Dagster and in meter_status."""
    planned_by_dagster = context.has_partition_key or context.has_partition_key_range
    interval = timedelta(0) if planned_by_dagster else timedelta(seconds=limits.status_interval_s)
    # A meter that was removed while it was polled has no partition any more.
    existing = existing_partitions(context.instance)
    with config_database.open() as engine:
        outcomes = [outcome for outcome in outcomes if str(outcome.id) in existing]
        stated = results_to_report(engine, context.instance, outcomes, interval)
        state_read(context, [outcome for outcome in stated if outcome.ok])
        if not planned_by_dagster:
            for outcome in stated:
                if not outcome.ok:
                    state_failed(context, outcome)
        save_statuses(engine, outcomes, stated)


@graph_asset(
    name=METER_READINGS.path[-1],
    partitions_def=METERS,
    backfill_policy=BackfillPolicy.single_run(),
    group_name="energy",
    kinds={"modbus"},
    description="Every meter's registers, read over Modbus TCP and stored as points; a partition per meter.",
)
def meter_readings() -> Any:
    """The way of the data, sample by sample."""
    plan, skipped, samples = sampling_times()

    def one_sample(sample: Any) -> Any:
        polled = read(sample, plan)
        return load(polled, decode(polled, plan))

    return conclude(samples.map(one_sample).collect(), plan, skipped)


poll_job = define_asset_job(
    "poll",
    selection=[meter_readings],
    tags={MAX_RUNTIME_TAG: str(int(UNSCHEDULED_SAMPLE.total_seconds()) + 120)},
    description="Reads meters now: all of a shard on schedule, or the partitions that are chosen.",
)
