"""Dagster's entry point: builds Definitions, nothing else. `emm code-server` serves this module.

What Dagster executes and shows is defined in `defs`. https://docs.dagster.io/api/dagster/definitions
"""

from dagster import Definitions, in_process_executor

from emm_pipeline.dagster_ext.step_files import StepFiles
from emm_pipeline.defs.alerts import mail_definitions
from emm_pipeline.defs.discovery import discovery_job
from emm_pipeline.defs.poll import meter_readings, poll_job, report_results
from emm_pipeline.defs.prune import prune_job, prune_schedule
from emm_pipeline.defs.replay import replay_job, replay_sensor
from emm_pipeline.defs.resources import ConfigDatabase, Limits, Readings
from emm_pipeline.defs.schedules import build_schedules
from emm_pipeline.settings import Settings, current_settings


def build_definitions(settings: Settings) -> Definitions:
    """Return everything that Dagster executes and shows, for these settings."""
    mail_jobs, mail_sensors = mail_definitions(settings)
    return Definitions(
        assets=[meter_readings],
        jobs=[discovery_job, poll_job, prune_job, replay_job, *mail_jobs],
        schedules=[*build_schedules(settings), prune_schedule],
        sensors=[replay_sensor, *mail_sensors],
        resources={
            "config_database": ConfigDatabase(),
            "readings": Readings(),
            "limits": Limits.of(settings),
            # Re-executed alone, this step polls failed meters again, and stores and reports earlier readings.
            "io_manager": StepFiles(optional_for=report_results.name),
        },
        # A process per step would take 25 s per run instead of 0.2 s, also in runs started on the asset's page.
        executor=in_process_executor,
    )


definitions = build_definitions(current_settings())
