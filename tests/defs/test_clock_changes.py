"""EMM's ticks equal Dagster's: EMM computes the windows of polls, and Dagster's scheduler starts the runs."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise, takewhile

import pytest
from dagster._utils.schedules import schedule_execution_time_iterator
from hypothesis import given, settings
from hypothesis import strategies as st

from emm_pipeline.cron import HIGHEST, Trigger
from emm_pipeline.polling.timing import window_of

SPRING = datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
AUTUMN = datetime(2026, 10, 25, 1, 0, tzinfo=UTC)
"""When the clocks of Warsaw change."""


def cron_fields(name: str):
    number = st.integers(0, HIGHEST[name])
    step = st.integers(1, HIGHEST[name])
    ranges = st.tuples(number, number).map(lambda ends: f"{min(ends)}-{max(ends)}")
    single = st.one_of(number.map(str), ranges, step.map(lambda n: f"*/{n}"), st.builds("{}/{}".format, ranges, step))
    return st.one_of(st.just("*"), single, st.lists(single, min_size=2, max_size=3).map(",".join))


def dagsters_ticks(trigger: Trigger, start: datetime, end: datetime) -> list[datetime]:
    times = schedule_execution_time_iterator(start.timestamp(), trigger.cron, trigger.time_zone)
    return [time.astimezone(UTC) for time in takewhile(lambda time: time <= end, times)]


def our_ticks(trigger: Trigger, start: datetime, end: datetime) -> list[datetime]:
    ticks, tick = [], start - timedelta(minutes=1)
    while (tick := trigger.next_tick(tick)) <= end:
        ticks.append(tick)
    return ticks


@settings(deadline=None, max_examples=60)
@given(
    hour=cron_fields("hour"),
    minute=cron_fields("minute"),
    change=st.sampled_from([SPRING, AUTUMN]),
    hours=st.tuples(st.integers(0, 30), st.integers(0, 30)),
)
def test_when_the_clocks_change_every_trigger_ticks_at_the_same_time_as_dagster(hour, minute, change, hours):
    trigger = Trigger(hour, minute, time_zone="Europe/Warsaw")
    start, end = change - timedelta(hours=hours[0]), change + timedelta(hours=hours[1])
    assert our_ticks(trigger, start, end) == dagsters_ticks(trigger, start, end)


@pytest.mark.parametrize(("hour", "minute"), [("1-3", "0,30"), ("*", "0")])
def test_over_a_whole_year_in_warsaw_every_tick_equals_dagsters(hour, minute):
    trigger = Trigger(hour, minute, time_zone="Europe/Warsaw")
    start = datetime(2026, 1, 1, tzinfo=UTC)
    year = start, start + timedelta(days=365)
    assert our_ticks(trigger, *year) == dagsters_ticks(trigger, *year)


@pytest.mark.parametrize("change", [SPRING, AUTUMN])
def test_a_poll_each_minute_loses_and_repeats_none_when_the_clocks_change(change):
    trigger = Trigger("*", "*", time_zone="Europe/Warsaw")
    ticks = dagsters_ticks(trigger, change - timedelta(hours=2), change + timedelta(hours=2))
    assert [later - earlier for earlier, later in pairwise(ticks)] == [timedelta(minutes=1)] * 240
    assert all(window_of(tick, trigger).until <= tick + timedelta(minutes=1) for tick in ticks)


def test_a_time_that_the_clocks_skip_ticks_once_right_after_the_gap():
    trigger = Trigger("2", "0,30", time_zone="Europe/Warsaw")
    assert our_ticks(trigger, SPRING - timedelta(hours=6), SPRING + timedelta(hours=6)) == [SPRING]


def test_a_time_that_comes_twice_ticks_once_the_second_time():
    trigger = Trigger("2", "30", time_zone="Europe/Warsaw")
    ticks = our_ticks(trigger, AUTUMN - timedelta(hours=6), AUTUMN + timedelta(hours=6))
    assert ticks == [AUTUMN + timedelta(minutes=30)]


@pytest.mark.parametrize(
    ("field", "cron"), [("5-5", "5"), ("5-5/2", "5"), ("1,7-7,9", "1,7,9"), ("05-5", "5"), ("5-55", "5-55")]
)
def test_a_range_of_one_number_is_written_to_dagster_as_that_number(field, cron):
    assert Trigger(minute=field).cron == f"{cron} * * * *"
