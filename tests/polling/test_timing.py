"""Sample times: the due seconds of a run, and the deadline of each reading."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emm_pipeline.cron import Trigger
from emm_pipeline.polling.timing import LONGEST_READING, START_MARGIN, Window, due_sample_times, window_of

NOON = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
NO_TIME = timedelta(0)


def at(seconds):
    return NOON + timedelta(seconds=seconds)


def take(second, now, report=NO_TIME):
    trigger = Trigger(second=second)
    samples, skipped = due_sample_times(window_of(NOON, trigger), trigger.seconds, now, report)
    return [sample.due for sample in samples], samples, skipped


def test_every_tenth_second_is_six_samples_of_which_the_first_is_taken_as_soon_as_the_run_is_up():
    due, samples, skipped = take("*/10", at(3))
    assert due == [at(s) for s in (0, 10, 20, 30, 40, 50)]
    assert not skipped
    assert [sample.deadline for sample in samples] == [at(s) for s in (10, 20, 30, 40, 50, 57)]


def test_a_run_that_comes_up_late_takes_the_first_past_second_at_once_and_says_which_it_skips():
    due, samples, skipped = take("*/10", at(25))
    assert due == [at(0), at(30), at(40), at(50)]
    assert skipped == [at(10), at(20)]
    assert samples[0].deadline == at(30)


def test_a_sample_a_minute_has_until_shortly_before_the_next_tick():
    _, samples, _ = take("0", at(2))
    assert samples[0].deadline == at(60) - START_MARGIN


def test_a_sample_at_the_end_of_the_minute_has_time_until_the_next_minutes_sample():
    _, samples, _ = take("59", at(2))
    assert samples[0].deadline == at(119) - START_MARGIN
    assert not window_of(NOON, Trigger(second="59")).is_overdue(at(61))


def test_with_sample_times_every_second_the_last_one_gets_its_second_and_the_next_tick_is_not_delayed():
    window = window_of(NOON, Trigger(second="*"))
    assert window.until == at(60)
    assert not window.is_overdue(at(61))


def test_a_poll_in_progress_at_the_next_tick_prevents_it():
    assert window_of(NOON, Trigger(second="0")).is_overdue(at(60))


def test_time_to_report_results_is_taken_from_the_last_sample():
    _, samples, _ = take("0", at(2), report=timedelta(seconds=7))
    assert samples[-1].deadline == at(50)


def test_a_broken_device_cannot_extend_a_reading_to_a_day_if_ticks_are_rare():
    window = window_of(NOON, Trigger(hour="12", minute="0"))
    assert window.until == NOON + LONGEST_READING


def test_a_run_that_comes_up_after_its_window_samples_once_and_has_time_for_it():
    _, samples, skipped = take("0,30", at(200))
    assert len(samples) == 1
    assert skipped == [at(30)]
    assert samples[0].deadline > at(200)


@given(
    st.sets(st.integers(0, 59), min_size=1),
    st.floats(0, 300),
    st.integers(0, 60),
    st.sampled_from(["*", "*/5", "0,7"]),
)
def test_samples_never_overlap_never_end_before_they_begin_and_none_is_forgotten(seconds, late, report, minute):
    trigger = Trigger(minute=minute, second=",".join(map(str, seconds)))
    now = at(late)
    samples, skipped = due_sample_times(window_of(NOON, trigger), trigger.seconds, now, timedelta(seconds=report))
    assert sorted([sample.due for sample in samples] + skipped) == [at(s) for s in sorted(seconds)]
    begins = [max(sample.due, now) for sample in samples]
    assert all(begin < sample.deadline for begin, sample in zip(begins, samples, strict=True))
    assert all(one.deadline <= max(two.due, now) for one, two in itertools.pairwise(samples))


@pytest.mark.parametrize("second", ["0", "30", "59", "*", "*/10", "55-59"])
def test_a_run_that_keeps_its_window_never_prevents_the_next_tick(second):
    trigger = Trigger(second=second)
    window = window_of(NOON, trigger)
    first_of_next = at(60 + trigger.seconds[0])
    assert window.until <= max(first_of_next - START_MARGIN, at(trigger.seconds[-1] + 1))
    assert not Window(window.tick, window.until).is_overdue(window.until)


def test_a_late_sample_is_not_begun_when_the_next_is_about_to_be_due():
    due, _, skipped = take("*/10", at(9.5))
    assert due[0] == at(10)
    assert skipped == [at(0)]
    due, _, skipped = take("*", at(3.9))
    assert due[0] == at(4)
    assert skipped == [at(s) for s in range(4)]


def test_time_to_report_results_never_takes_more_than_a_quarter_of_the_window():
    _, samples, _ = take("0", at(2), report=timedelta(hours=1))
    assert samples[-1].deadline == at(57) - timedelta(seconds=57) / 4
