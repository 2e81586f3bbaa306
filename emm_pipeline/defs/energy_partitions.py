"""The partitions of the energy assets: hours, days and months in TZ, from the month of the first reading on.

Dagster makes the keys and reads them: on the days on which the clocks change, no text that looks like an hour is one.

Time partitions: https://docs.dagster.io/guides/build/partitions-and-backfills/partitioning-assets
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from dagster import (
    DailyPartitionsDefinition,
    HourlyPartitionsDefinition,
    MonthlyPartitionsDefinition,
    TimeWindowPartitionsDefinition,
)

from emm_pipeline.config_db.device_state.energy_state import load_begin, save_begin
from emm_pipeline.energy.periods import milliseconds, moment_of, month_of
from emm_pipeline.errors import EmmError
from emm_pipeline.opening import open_config_database, open_history
from emm_pipeline.settings import Settings


class TimePartitions(NamedTuple):
    """The partitions of the three assets."""

    hours: HourlyPartitionsDefinition
    days: DailyPartitionsDefinition
    months: MonthlyPartitionsDefinition


def time_partitions(settings: Settings) -> TimePartitions:
    """Return the partitions from the month of the first reading on."""
    first = first_day(settings)
    begin = datetime(first.year, first.month, first.day)  # noqa: DTZ001 - Dagster adds the time zone
    return TimePartitions(
        HourlyPartitionsDefinition(start_date=begin, timezone=settings.tz),
        DailyPartitionsDefinition(start_date=begin, timezone=settings.tz),
        MonthlyPartitionsDefinition(start_date=begin, timezone=settings.tz),
    )


def first_day(settings: Settings) -> date:
    """Return the first day of the month of the first reading.

    It is kept in the configuration database. If that cannot be reached, the partitions begin last year: more partitions
    do no harm, since only those of the last weeks are computed by themselves.
    """
    zone = ZoneInfo(settings.tz)
    today = datetime.now(zone).date()
    try:
        with open_config_database(settings) as engine:
            known = load_begin(engine)
            if known is not None:
                return known
            with open_history(settings) as store:
                first_ms = store.first_time()
            if first_ms is None:
                return month_of(today - timedelta(days=1))  # readings may wait in the outbox
            begin = month_of(moment_of(first_ms, zone).date())
            save_begin(engine, begin)
            return begin
    except EmmError:
        return date(today.year - 1, 1, 1)


def edges_of(keys: Sequence[str], partitions: TimeWindowPartitionsDefinition) -> list[int]:
    """Return the edges of consecutive partitions, in milliseconds."""
    windows = [partitions.time_window_for_partition_key(key) for key in keys]
    return [*(milliseconds(window.start) for window in windows), milliseconds(windows[-1].end)]
