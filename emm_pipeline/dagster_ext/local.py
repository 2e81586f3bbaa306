"""Run jobs in this process, for the demo: the same jobs and the same storage, without daemon and webserver.

DAGSTER_HOME is the folder of the instance. Callers pass in the definitions and the jobs' names.
"""

from collections.abc import Iterable
from typing import Any

from dagster import DagsterInstance, Definitions, RunsFilter

from emm_pipeline.dagster_ext.run_history import IN_FLIGHT

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def run_jobs(definitions: Definitions, names: Iterable[str]) -> list[str]:
    """Run jobs one after the other; return one line for each step that failed. Failures are recorded, not raised."""
    Definitions.validate_loadable(definitions)
    reasons: list[str] = []
    with DagsterInstance.get() as instance:
        for name in names:
            job = definitions.resolve_job_def(name)
            result = job.execute_in_process(instance=instance, raise_on_error=False, run_config=_QUIET)
            failures = (event.step_failure_data for event in result.all_events if event.is_step_failure)
            reasons += [f"{name}: {_reason(failure)}" for failure in failures]
    return reasons


def _reason(failure: Any) -> str:
    """Return the description of a step's Failure, or else the message of the first exception."""
    if failure.user_failure_data and failure.user_failure_data.description:
        return str(failure.user_failure_data.description)
    error = failure.error
    while error and error.cause:
        error = error.cause
    return " ".join(error.message.split()) if error else "no reason given"


def end_runs_in_flight(reason: str) -> None:
    """Mark every run in progress as canceled, because the processes that executed them have ended."""
    with DagsterInstance.get() as instance:
        for run in instance.get_runs(RunsFilter(statuses=IN_FLIGHT)):
            instance.report_run_canceled(run, message=reason)
