"""Runs jobs in this process, for the demo: the same jobs and the same storage, without daemon and webserver."""

from dagster import DagsterInstance, Definitions, RunsFilter

from emm_pipeline.defs.build import build_definitions
from emm_pipeline.defs.runs import IN_FLIGHT
from emm_pipeline.settings import Settings

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def discover_and_poll(settings: Settings) -> None:
    """Run the discovery, then a poll of all meters; what fails is recorded in Dagster, not raised.

    DAGSTER_HOME names the instance.
    """
    definitions = build_definitions(settings)
    Definitions.validate_loadable(definitions)
    with DagsterInstance.get() as instance:
        for name in ("discovery", "poll"):
            job = definitions.resolve_job_def(name)
            job.execute_in_process(instance=instance, raise_on_error=False, run_config=_QUIET)


def end_runs_in_flight(reason: str) -> None:
    """Mark every run in flight as cancelled: whoever executed it is gone."""
    with DagsterInstance.get() as instance:
        for run in instance.get_runs(RunsFilter(statuses=IN_FLIGHT)):
            instance.report_run_canceled(run, message=reason)
