"""The poll: the asset `meter_readings`, a partition per meter, and the job that reads all meters in one run.

    sample_times -> (at each of them) read_and_decode -> load -> report_results

A scheduled run has no partition: it takes the meters of its shard from the database and reports the result of each one
itself. A run for one partition, or a backfill, reads only the meters of its partitions, once and immediately.

At the end of `read_and_decode` the points are on disk, in the outbox. Each of Dagster's step events needs PostgreSQL,
and no fleet reading may be lost by an outage between two steps.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from dagster import (
    AssetObservation,
    BackfillPolicy,
    DynamicOut,
    DynamicOutput,
    In,
    Nothing,
    OpExecutionContext,
    Out,
    Output,
    TableColumn,
    TableSchema,
    define_asset_job,
    graph_asset,
    op,
)

from emm_pipeline.dagster_ext.internals import PlainFailureError
from emm_pipeline.dagster_ext.outages import when_database_answers
from emm_pipeline.defs.checks import CHECKS, OUTPUTS, Findings, evaluations, failing_of
from emm_pipeline.defs.lineage import UPSTREAM
from emm_pipeline.defs.partitions import METER_READINGS, METERS
from emm_pipeline.defs.reading import (
    Reader,
    due_times,
    is_scheduled,
    plan_run,
    said_of,
    unknown_partitions,
    unscheduled,
    waiting_points,
)
from emm_pipeline.defs.reporting import (
    describe_failures,
    failed_table,
    reading_metadata,
    run_metadata,
)
from emm_pipeline.defs.resources import ConfigDatabase, Limits, Readings
from emm_pipeline.defs.runs import MAX_RUNTIME_TAG
from emm_pipeline.defs.status import record
from emm_pipeline.polling import pipeline
from emm_pipeline.polling.open_gateways import close_gateways
from emm_pipeline.polling.plan import PollPlan
from emm_pipeline.polling.results import FleetReading, FleetResult, results_of
from emm_pipeline.polling.timing import UNSCHEDULED_READING, SampleTime

REPORT_PATIENCE_S = 600.0
"""Time for which the results of a run wait for the database if it is unavailable. The readings are already on disk."""


@op(
    ins={name: In(Nothing) for name in UPSTREAM},
    out={"plan": Out(PollPlan), "skipped": Out(list), "due": DynamicOut(SampleTime)},
    tags={"dagster/priority": "0"},
)
def sample_times(
    context: OpExecutionContext, config_database: ConfigDatabase
) -> Iterator[Output[Any] | DynamicOutput[SampleTime]]:
    """Load the meters from the database, and compute the sample times of this run from the trigger."""
    plan = plan_run(context, config_database)
    due, skipped = due_times(context, plan)
    context.log.info(f"{len(plan.meters)} meters to read at {len(due)} sample times")
    if skipped:
        context.log.warning(f"skipped {len(skipped)} sample times that had already passed when the run started")
    yield Output(plan, "plan")
    yield Output(skipped, "skipped")
    for sample_time in due:
        yield DynamicOutput(sample_time, f"at_{sample_time.due:%H_%M_%S}", output_name="due")


@op(out=Out(FleetReading), tags={"dagster/priority": "1"})
def read_and_decode(
    context: OpExecutionContext,
    sample_time: SampleTime,
    plan: PollPlan,
    config_database: ConfigDatabase,
    readings: Readings,
    limits: Limits,
) -> Output[FleetReading]:
    """Wait for the sample time, read every meter, decode the registers, and keep the points in the outbox on disk."""
    reader = Reader(context, plan, config_database, readings, limits)
    reader.wait(sample_time)
    reading, frame = reader.read(sample_time)
    context.log.info(f"{said_of([reading])}, {len(frame)} points")
    if reading.clock_issue:
        context.log.warning(reading.clock_issue)
    return Output(reading, metadata=reading_metadata(reading, frame))


@op(out=Out(FleetResult), tags={"dagster/priority": "2"})
def load(context: OpExecutionContext, reading: FleetReading, readings: Readings) -> FleetResult:
    """Load the readings, and the result of reading each meter, from the outbox into the store."""
    return _load(context, reading, readings)


def _load(context: OpExecutionContext, reading: FleetReading, readings: Readings) -> FleetResult:
    with readings.open() as delivery:
        result = pipeline.load(delivery, reading)
    for problem in result.store_problems:
        context.log.error(problem)
    return result


@op(
    out={"result": Out(Nothing, is_required=False), **{name: Out(is_required=False) for name in OUTPUTS}},
    # Of any type: if this step alone is executed again, it may get none of them (step_files.py).
    ins={"fleet_results": In(Any), "plan": In(Any), "skipped": In(Any)},
    tags={"dagster/priority": "3"},
)
def report_results(
    context: OpExecutionContext,
    fleet_results: list[FleetResult],
    plan: PollPlan,
    skipped: list[datetime],
    config_database: ConfigDatabase,
    readings: Readings,
    limits: Limits,
) -> Iterator[Output[None]]:
    """Report each meter's result. Fail the run, naming what failed, if the store lacks points or meters fail.

    A scheduled run fails if a meter begins to fail; meters that are known to fail do not fail it
    (`polling/report_plan.py`). Runs that a person started fail if any of their meters fails.

    Meters that failed at the last sample time get a second attempt first. If the step is re-executed alone ("re-execute
    from failure"), it first polls the failed meters again.
    """
    if _is_executed_alone(context):
        plan = plan_run(context, config_database)
        reading, _ = Reader(context, plan, config_database, readings, limits).read(unscheduled(datetime.now(UTC)))
        fleet_results, skipped = [_load(context, reading, readings)], []
    *earlier, last = sorted(fleet_results, key=lambda result: result.due)
    if again := Reader(context, plan, config_database, readings, limits).read_again(last):
        context.log.info(f"second attempt: {said_of([again])}")
        fleet_results = [*earlier, replace(last, second_attempt=_load(context, again, readings))]
    close_gateways(context.run_id)
    results = results_of(plan, fleet_results)
    problems = [problem for result in fleet_results for problem in result.problems]
    report = when_database_answers(
        lambda: record(context, results, config_database, limits, fleet_results),
        REPORT_PATIENCE_S,
        lambda reason: context.log.warning(f"the results of this run wait for the database: {reason}"),
    )
    unknown = unknown_partitions(context)
    is_red = report.plan.is_red(scheduled=is_scheduled(context), unstored=bool(problems)) or bool(unknown)
    issues = {meter_id: known for meter_id, known in report.issues.items() if meter_id in report.existing}
    failing = failing_of(report.statuses.values(), report.existing)
    findings = Findings(failing, issues, problems or waiting_points())
    for evaluation in evaluations(findings, red=is_red):
        context.log_event(evaluation)  # type: ignore[arg-type]  # Dagster takes them, and does not say so
    # An observation of the asset as a whole: shown with the run, and plotted over time on the asset's page.
    context.log_event(AssetObservation(METER_READINGS, metadata=run_metadata(results, fleet_results, skipped)))
    if is_red:
        raise PlainFailureError(
            describe_failures(results, report.plan, fleet_results, unknown),
            metadata={"failed": failed_table(report.plan.failing)},
        )
    if report.plan.failing:
        context.log.warning(f"known before: {describe_failures(results, report.plan)}")
    # An output would be one more materialization, without a partition; a generator may leave it out.
    yield from ()


def _is_executed_alone(context: OpExecutionContext) -> bool:
    selected = context.run.step_keys_to_execute
    return bool(context.run.parent_run_id and selected) and all(
        key.endswith(f".{report_results.name}") for key in selected or ()
    )


COLUMNS = TableSchema(
    [
        TableColumn("time", "timestamp", "When the meter was read (UTC, milliseconds)."),
        TableColumn("id", "int", "The meter's id in energy_meters."),
        TableColumn("description", "string", "The meter's description; none where there is none."),
        TableColumn("measurement", "string", "measurement_name of the table registers."),
        TableColumn("unit", "string", "data_unit of the table registers; none where there is none."),
        TableColumn("value", "float", "In the unit; always finite."),
    ]
)


@graph_asset(
    name=METER_READINGS.path[-1],
    partitions_def=METERS,
    backfill_policy=BackfillPolicy.single_run(),
    group_name="energy",
    kinds={"modbus", "python"},
    owners=["team:energy"],
    tags={"domain": "energy"},
    ins=UPSTREAM,
    check_specs=CHECKS,
    metadata={"dagster/column_schema": COLUMNS},
    description="The registers of every meter, read over Modbus and stored as points; one partition per meter.",
)
def meter_readings(energy_meters: Any, registers: Any) -> Any:
    """The steps of a poll, with the sample times one after the other."""
    plan, skipped, due = sample_times(energy_meters=energy_meters, registers=registers)

    def at_sample_time(sample_time: Any) -> Any:
        return load(read_and_decode(sample_time, plan))

    result, *checks = report_results(due.map(at_sample_time).collect(), plan, skipped)
    return {"result": result, **dict(zip(OUTPUTS, checks, strict=True))}


poll_job = define_asset_job(
    "poll",
    selection=[meter_readings],
    tags={MAX_RUNTIME_TAG: str(int(UNSCHEDULED_READING.total_seconds()) + 120)},
    description="Reads meters: on schedule all meters of a shard, or the chosen partitions immediately. What a run's "
    "process prints is in the log of the code server (docker compose logs code; in the demo logs/code_server.log), not "
    "in the tabs stdout and stderr.",
)
