"""The energy of hours, days and months: assets partitioned by time in TZ, over all meters.

An hour is computed within two minutes of its end, a day once its hours are there, a month once its days are. Backfills
compute any range again from the readings, and give the same numbers. `defs/energy_again.py` computes hours again whose
readings came late; their days and months follow by themselves. An asset is stale if nothing was computed between the
end of an interval and a deadline, which an hour also keeps if its first run failed.

Automation conditions: https://docs.dagster.io/guides/automate/declarative-automation
"""

import warnings
from datetime import timedelta

from dagster import (
    AllPartitionMapping,
    AssetCheckSpec,
    AssetDep,
    AssetExecutionContext,
    AssetsDefinition,
    AssetSelection,
    AutomationCondition,
    AutomationConditionSensorDefinition,
    BackfillPolicy,
    BetaWarning,
    DefaultSensorStatus,
    FreshnessPolicy,
    MaterializeResult,
    TimeWindowPartitionMapping,
    asset,
)

from emm_pipeline.defs.energy_partitions import TimePartitions
from emm_pipeline.defs.energy_steps import compute_hours, roll_up
from emm_pipeline.defs.partitions import METER_READINGS
from emm_pipeline.defs.resources import ConfigDatabase, ReadingsHistory
from emm_pipeline.energy.periods import Period
from emm_pipeline.energy.quality import DESCRIPTIONS

GROUP = "energy"
HOURLY, DAILY, MONTHLY = "energy_hourly", "energy_daily", "energy_monthly"
MADE_UP = timedelta(days=35)
"""Hours that are missing are computed for this time; earlier ones by a backfill."""
AUTOMATION_EVERY_S = 60


def _checks(asset_name: str) -> list[AssetCheckSpec]:
    return [AssetCheckSpec(name, asset=asset_name, description=text) for name, text in DESCRIPTIONS.items()]


def hourly_condition(zone: str) -> AutomationCondition:  # type: ignore[type-arg]
    """Return the condition: an hour is over, or is missing because its run failed or the daemon did not run."""
    conditions = AutomationCondition
    is_missing = conditions.in_latest_time_window(MADE_UP) & conditions.missing() & ~conditions.in_progress()
    return (is_missing & conditions.cron_tick_passed("1-59/10 * * * *", zone)).with_label(
        "an hour is over, or is missing"
    )


def rolled_up() -> AutomationCondition:  # type: ignore[type-arg]
    """Return the condition: all parts are there, and one of them is new. Any day or month, also one long past."""
    return AutomationCondition.eager().without(AutomationCondition.in_latest_time_window())


def build_energy_assets(partitions: TimePartitions) -> tuple[AssetsDefinition, AssetsDefinition, AssetsDefinition]:
    """Return the three assets."""
    with warnings.catch_warnings():
        # Of the decorator's backfill policies. A message in each process's output tells a user nothing.
        warnings.simplefilter("ignore", BetaWarning)
        return _build(partitions)


def _build(partitions: TimePartitions) -> tuple[AssetsDefinition, AssetsDefinition, AssetsDefinition]:
    zone = str(partitions.hours.timezone)

    @asset(
        name=HOURLY,
        group_name=GROUP,
        kinds={"python"},
        owners=["team:energy"],
        partitions_def=partitions.hours,
        deps=[AssetDep(METER_READINGS, partition_mapping=AllPartitionMapping())],
        automation_condition=hourly_condition(zone),
        freshness_policy=FreshnessPolicy.cron("15 * * * *", timedelta(minutes=15), zone),
        backfill_policy=BackfillPolicy.single_run(),
        check_specs=_checks(HOURLY),
        description="The energy of each hour, by meter and counter, from the readings around it: `emm_energy` with "
        "period=hour. docs/energy.md explains the flags.",
    )
    def energy_hourly(
        context: AssetExecutionContext, config_database: ConfigDatabase, history: ReadingsHistory
    ) -> MaterializeResult:  # type: ignore[type-arg]
        return compute_hours(context, config_database, history, partitions.hours)

    @asset(
        name=DAILY,
        group_name=GROUP,
        kinds={"python"},
        owners=["team:energy"],
        partitions_def=partitions.days,
        deps=[AssetDep(HOURLY, partition_mapping=TimeWindowPartitionMapping())],
        automation_condition=rolled_up(),
        freshness_policy=FreshnessPolicy.cron("30 0 * * *", timedelta(minutes=30), zone),
        backfill_policy=BackfillPolicy.single_run(),
        check_specs=_checks(DAILY),
        description="The energy of each day in TZ: exactly the sum of its hours. `emm_energy` with period=day.",
    )
    def energy_daily(
        context: AssetExecutionContext, config_database: ConfigDatabase, history: ReadingsHistory
    ) -> MaterializeResult:  # type: ignore[type-arg]
        return roll_up(context, config_database, history, Period.DAY, partitions.days, partitions.hours)

    @asset(
        name=MONTHLY,
        group_name=GROUP,
        kinds={"python"},
        owners=["team:energy"],
        partitions_def=partitions.months,
        deps=[AssetDep(DAILY, partition_mapping=TimeWindowPartitionMapping())],
        automation_condition=rolled_up(),
        freshness_policy=FreshnessPolicy.cron("30 0 1 * *", timedelta(minutes=30), zone),
        backfill_policy=BackfillPolicy.single_run(),
        check_specs=_checks(MONTHLY),
        description="The energy of each month in TZ: exactly the sum of its days. The cost contains the base price. "
        "`emm_energy` with period=month.",
    )
    def energy_monthly(
        context: AssetExecutionContext, config_database: ConfigDatabase, history: ReadingsHistory
    ) -> MaterializeResult:  # type: ignore[type-arg]
        return roll_up(context, config_database, history, Period.MONTH, partitions.months, partitions.days)

    return energy_hourly, energy_daily, energy_monthly


def automation_sensor() -> AutomationConditionSensorDefinition:
    """Return the sensor that evaluates the conditions. Dagster's own sensor would be switched off at first."""
    return AutomationConditionSensorDefinition(
        "energy_automation",
        target=AssetSelection.assets(HOURLY, DAILY, MONTHLY),
        minimum_interval_seconds=AUTOMATION_EVERY_S,
        default_status=DefaultSensorStatus.RUNNING,
        description="Computes each hour after its end, and the days and months whose parts have changed.",
    )
