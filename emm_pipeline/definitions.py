"""Dagster's entry point: builds Definitions, nothing else. `emm code-server` serves this module.

What Dagster executes and shows is defined in `defs`. https://docs.dagster.io/api/dagster/definitions
"""

from datetime import timedelta
from functools import partial

from dagster import AssetSpec, Definitions, FreshnessPolicy, in_process_executor

from emm_pipeline.cron import Trigger
from emm_pipeline.dagster_ext.step_files import StepFiles
from emm_pipeline.defs.alerts import alert_definitions
from emm_pipeline.defs.discovery import discovery_job
from emm_pipeline.defs.energy import automation_sensor, build_energy_assets
from emm_pipeline.defs.energy_again import build_energy_again_sensor, energy_job
from emm_pipeline.defs.energy_partitions import time_partitions
from emm_pipeline.defs.lineage import SPECS
from emm_pipeline.defs.poll import meter_readings, poll_job, report_results
from emm_pipeline.defs.prune import prune_job, prune_schedule
from emm_pipeline.defs.replay import replay_job, replay_sensor
from emm_pipeline.defs.resources import ConfigDatabase, Limits, Readings, ReadingsHistory
from emm_pipeline.defs.schedules import build_schedules
from emm_pipeline.settings import Settings, current_settings


def with_freshness(spec: AssetSpec, trigger: Trigger) -> AssetSpec:
    """Return the spec with a freshness policy: a meter must have been read within two intervals of the schedule."""
    interval = trigger.longest_interval()
    slack = timedelta(seconds=30)
    policy = FreshnessPolicy.time_window(fail_window=3 * interval + slack, warn_window=2 * interval + slack)
    return spec.replace_attributes(freshness_policy=policy)


def build_definitions(settings: Settings) -> Definitions:
    """Return everything that Dagster executes and shows, for these settings."""
    alert_jobs, alert_sensors = alert_definitions(settings)
    partitions = time_partitions(settings)
    return Definitions(
        assets=[
            meter_readings.map_asset_specs(partial(with_freshness, trigger=settings.poll_trigger)),
            *SPECS,
            *build_energy_assets(partitions),
        ],
        jobs=[discovery_job, energy_job, poll_job, prune_job, replay_job, *alert_jobs],
        schedules=[*build_schedules(settings), prune_schedule],
        sensors=[automation_sensor(), build_energy_again_sensor(partitions.hours), replay_sensor, *alert_sensors],
        resources={
            "config_database": ConfigDatabase(),
            "readings": Readings(),
            "history": ReadingsHistory(),
            "limits": Limits.of(settings),
            # Re-executed alone, this step polls failed meters again, and stores and reports earlier readings.
            "io_manager": StepFiles(optional_for=report_results.name),
        },
        # A process per step would take 25 s per run instead of 0.2 s, also in runs started on the asset's page.
        executor=in_process_executor,
    )


definitions = build_definitions(current_settings())
