"""When Dagster computes energies by itself: its automation conditions, evaluated at given times."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from dagster import (
    AssetKey,
    AssetMaterialization,
    DagsterInstance,
    DailyPartitionsDefinition,
    Definitions,
    HourlyPartitionsDefinition,
    MonthlyPartitionsDefinition,
    evaluate_automation_conditions,
)
from dagster._core.definitions.freshness import FreshnessState
from dagster._core.definitions.freshness_evaluator import CronFreshnessPolicyEvaluator
from dagster._core.loader import LoadingContextForTest
from dagster._core.test_utils import freeze_time

from emm_pipeline.defs.energy import DAILY, HOURLY, MONTHLY, build_energy_assets
from emm_pipeline.defs.energy_partitions import TimePartitions
from emm_pipeline.defs.resources import ConfigDatabase, ReadingsHistory

START = "2026-02-01"
BEGIN = datetime(2026, 2, 1, tzinfo=UTC)


class Daemon:
    """Evaluates the conditions, and records as materialized what they ask for."""

    def __init__(self) -> None:
        partitions = TimePartitions(
            HourlyPartitionsDefinition(start_date=f"{START}-00:00", timezone="UTC"),
            DailyPartitionsDefinition(start_date=START, timezone="UTC"),
            MonthlyPartitionsDefinition(start_date=START, timezone="UTC"),
        )
        self._definitions = Definitions(
            assets=build_energy_assets(partitions),
            resources={"config_database": ConfigDatabase(), "history": ReadingsHistory()},
        )
        self.instance = DagsterInstance.ephemeral()
        self._cursor = None
        self.tick(BEGIN)

    def tick(self, time: datetime, *, fails: bool = False) -> set[tuple[str, str]]:
        """Evaluate the conditions at a time; return what they ask for. With `fails`, its run fails."""
        result = evaluate_automation_conditions(
            defs=self._definitions, instance=self.instance, evaluation_time=time, cursor=self._cursor
        )
        self._cursor = result.cursor
        names = (HOURLY, DAILY, MONTHLY)
        asked = {(name, each) for name in names for each in result.get_requested_partitions(AssetKey(name)) if each}
        for name, partition in asked:
            if not fails:
                self.done(name, partition)
        return asked

    def is_fresh(self, name: str, time: datetime) -> bool:
        """Evaluate the freshness policy of an asset at a time, as the daemon does."""
        node = self._definitions.resolve_asset_graph().get(AssetKey(name))
        with freeze_time(time):
            context = LoadingContextForTest(self.instance)
            state = asyncio.run(CronFreshnessPolicyEvaluator().evaluate_freshness(context, node))
        return state is FreshnessState.PASS

    def done(self, name: str, partition: str) -> None:
        self.instance.report_runless_asset_event(AssetMaterialization(AssetKey(name), partition=partition))


@pytest.fixture
def daemon() -> Daemon:
    return Daemon()


def at(day: int, hour: int, minute: int, month: int = 2) -> datetime:
    return datetime(2026, month, day, hour, minute, 5, tzinfo=UTC)


def test_an_hour_is_computed_once_a_minute_after_its_end(daemon):
    assert daemon.tick(at(1, 0, 59)) == set()
    assert daemon.tick(at(1, 1, 0)) == set(), "the reading after the hour is not stored yet"
    assert daemon.tick(at(1, 1, 1)) == {(HOURLY, "2026-02-01-00:00")}
    assert daemon.tick(at(1, 1, 11)) == set()
    assert daemon.tick(at(1, 2, 1)) == {(HOURLY, "2026-02-01-01:00")}


def test_an_hour_whose_run_failed_and_those_that_a_dead_daemon_missed_are_computed_later(daemon):
    assert daemon.tick(at(1, 1, 1), fails=True)
    assert daemon.tick(at(1, 1, 2)) == set()
    assert daemon.tick(at(1, 1, 11)) == {(HOURLY, "2026-02-01-00:00")}
    missed = daemon.tick(at(1, 9, 1))
    assert missed == {(HOURLY, f"2026-02-01-0{hour}:00") for hour in range(1, 9)}


def test_a_day_follows_its_last_hour_and_a_late_hour_its_day_and_month_also_one_long_past(daemon):
    assert len(daemon.tick(at(1, 0, 1, month=3))) == 28 * 24
    assert daemon.tick(at(1, 0, 2, month=3)) == {(DAILY, f"2026-02-{day:02}") for day in range(1, 29)}
    assert daemon.tick(at(1, 0, 3, month=3)) == {(MONTHLY, "2026-02-01")}
    assert daemon.tick(at(1, 0, 4, month=3)) == set()
    daemon.done(HOURLY, "2026-02-05-07:00")
    assert daemon.tick(at(1, 0, 5, month=3)) == {(DAILY, "2026-02-05")}
    assert daemon.tick(at(1, 0, 6, month=3)) == {(MONTHLY, "2026-02-01")}


def test_hours_that_are_missing_for_more_than_35_days_wait_for_a_backfill(daemon):
    asked = {partition for name, partition in daemon.tick(at(31, 0, 1, month=3)) if name == HOURLY}
    assert min(asked) == f"{BEGIN + timedelta(days=58) - timedelta(days=35):%Y-%m-%d-%H:%M}"


def test_an_asset_is_shown_as_stale_if_its_last_hour_day_or_month_is_not_computed_soon(daemon):
    with freeze_time(at(28, 23, 1)):
        for name in (HOURLY, DAILY, MONTHLY):
            daemon.done(name, "2026-02-28-22:00" if name == HOURLY else "2026-02-27" if name == DAILY else "2026-02-01")
    assert daemon.is_fresh(HOURLY, at(1, 0, 14, month=3)), "its run may have failed once"
    assert not daemon.is_fresh(HOURLY, at(1, 0, 16, month=3))
    for name in (DAILY, MONTHLY):
        assert daemon.is_fresh(name, at(1, 0, 29, month=3))
        assert not daemon.is_fresh(name, at(1, 0, 31, month=3))
    with freeze_time(at(1, 0, 40, month=3)):
        daemon.done(HOURLY, "2026-02-28-23:00")
    assert daemon.is_fresh(HOURLY, at(1, 1, 14, month=3))
