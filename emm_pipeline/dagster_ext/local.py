"""Runs jobs in this process, for the demo: the same jobs and the same storage, without daemon and webserver."""

from dagster import DagsterInstance, Definitions, RunsFilter
from dagster._core.execution.plan.objects import StepFailureData

from emm_pipeline.defs.build import build_definitions
from emm_pipeline.defs.runs import IN_FLIGHT
from emm_pipeline.settings import Settings

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def discover_and_poll(settings: Settings) -> list[str]:
    """Run the discovery, then a poll of all meters; return why a step failed, a line each.

    DAGSTER_HOME names the instance; a failure is recorded there too, not raised.
    """
    definitions = build_definitions(settings)
    Definitions.validate_loadable(definitions)
    reasons: list[str] = []
    with DagsterInstance.get() as instance:
        for name in ("discovery", "poll"):
            job = definitions.resolve_job_def(name)
            result = job.execute_in_process(instance=instance, raise_on_error=False, run_config=_QUIET)
            failures = (event.step_failure_data for event in result.all_events if event.is_step_failure)
            reasons += [f"{name}: {_reason(failure)}" for failure in failures]
    return reasons


def _reason(failure: StepFailureData) -> str:
    if failure.user_failure_data and failure.user_failure_data.description:
        return failure.user_failure_data.description
    error = failure.error
    while error and error.cause:
        error = error.cause
    return " ".join(error.message.split()) if error else "no reason given"


def end_runs_in_flight(reason: str) -> None:
    """Mark every run in flight as cancelled: whoever executed it is gone."""
    with DagsterInstance.get() as instance:
        for run in instance.get_runs(RunsFilter(statuses=IN_FLIGHT)):
            instance.report_run_canceled(run, message=reason)
