"""How often a meter is asked that keeps failing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emm_pipeline.fleet import EnergyMeter, FunctionCode
from emm_pipeline.polling.backoff import LONGEST_DELAY, after, delay, not_asked
from emm_pipeline.readings import Failure, FailureKind, MeterReading, RegisterBlock, Request

NOON = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
METER = EnergyMeter(1, "10.0.0.1", 502, 1, "sdm630")
BLOCK = RegisterBlock(Request(FunctionCode.READ_INPUT_REGISTERS, 0, 1), b"\0\0")
SILENT = MeterReading(METER, NOON, failure=Failure(FailureKind.TIMEOUT, "no reply within 3 s"))
READ = MeterReading(METER, NOON, (BLOCK,))


def attempts(samples, interval):
    """The numbers of those of so many samples at which a dead meter is asked."""
    state, asked = None, []
    for number in range(samples):
        due = NOON + number * interval
        if state is None or state.is_due(due):
            asked.append(number)
            state = after(SILENT, state, due, interval)
    return asked


def test_a_dead_meter_is_asked_three_times_in_a_row_then_after_2_4_and_every_5_minutes():
    assert attempts(25, MINUTE) == [0, 1, 2, 4, 8, 13, 18, 23]


def test_below_a_minute_the_delays_double_from_the_interval_on():
    assert attempts(70, timedelta(seconds=10)) == [0, 1, 2, 4, 8, 16, 32, 62]


@pytest.mark.parametrize("minutes", [5, 10, 60])
def test_polls_that_are_rare_anyway_ask_every_time(minutes):
    assert attempts(6, timedelta(minutes=minutes)) == list(range(6))


@settings(deadline=None)  # a busy machine is no failure
@given(interval=st.integers(1, 299), samples=st.integers(10, 2000))
def test_a_dead_meter_is_never_left_alone_for_longer_than_the_limit_and_the_rest_of_an_interval(interval, samples):
    asked = attempts(samples, timedelta(seconds=interval))
    gaps = [(b - a) * interval for a, b in pairwise(asked)]
    assert all(gap < LONGEST_DELAY.total_seconds() + interval for gap in gaps)
    assert asked[:3] == [0, 1, 2]


def test_thousands_of_failures_are_no_number_too_large():
    assert delay(10_000, MINUTE) == LONGEST_DELAY


def test_the_first_success_ends_it():
    state = after(SILENT, after(SILENT, None, NOON, MINUTE), NOON + MINUTE, MINUTE)
    assert (state.failures, state.since) == (2, NOON)
    assert after(READ, state, NOON + 2 * MINUTE, MINUTE) is None


def test_a_meter_that_gives_a_part_is_asked_every_time():
    partly = replace(READ, failure=SILENT.failure)
    assert after(partly, None, NOON, MINUTE) is None


@pytest.mark.parametrize("kind", [FailureKind.DEADLINE, FailureKind.CONFIGURATION, FailureKind.NOT_DUE])
def test_what_is_not_the_meters_own_fault_neither_counts_nor_ends_it(kind):
    not_its_fault = replace(SILENT, failure=Failure(kind, "not reached"))
    state = after(SILENT, None, NOON, MINUTE)
    assert after(not_its_fault, None, NOON, MINUTE) is None
    assert after(not_its_fault, state, NOON + MINUTE, MINUTE) is state


def test_a_meter_that_is_not_asked_says_why_since_when_and_when_it_is_asked_again():
    state = None
    for number in range(3):
        state = after(SILENT, state, NOON + number * MINUTE, MINUTE)
    sample = not_asked(METER, state, NOON + 3 * MINUTE)
    assert sample.failure.kind is FailureKind.NOT_DUE
    assert sample.failure.reason == (
        "no reply within 3 s; failing since 2026-01-01 12:00:00 UTC, next attempt at 2026-01-01 12:04:00 UTC"
    )
    assert (sample.requests, sample.is_retriable) == (0, False)
