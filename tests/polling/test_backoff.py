"""The back-off of a meter that keeps failing."""

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
    """Return the numbers of the readings, of this many, at which a dead meter is read."""
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
def test_if_polls_are_rare_a_failing_meter_is_read_every_time(minutes):
    assert attempts(6, timedelta(minutes=minutes)) == list(range(6))


@settings(deadline=None)  # a busy machine must not fail a test
@given(interval=st.integers(1, 299), samples=st.integers(10, 2000))
def test_the_pause_between_attempts_never_exceeds_the_limit_plus_an_interval(interval, samples):
    asked = attempts(samples, timedelta(seconds=interval))
    gaps = [(b - a) * interval for a, b in pairwise(asked)]
    assert all(gap < LONGEST_DELAY.total_seconds() + interval for gap in gaps)
    assert asked[:3] == [0, 1, 2]


def test_thousands_of_failures_cause_no_overflow():
    assert delay(10_000, MINUTE) == LONGEST_DELAY


def test_the_first_success_ends_the_back_off():
    state = after(SILENT, after(SILENT, None, NOON, MINUTE), NOON + MINUTE, MINUTE)
    assert (state.failures, state.since) == (2, NOON)
    assert after(READ, state, NOON + 2 * MINUTE, MINUTE) is None


def test_a_partly_read_meter_is_read_every_time():
    partly = replace(READ, failure=SILENT.failure)
    assert after(partly, None, NOON, MINUTE) is None


@pytest.mark.parametrize("kind", [FailureKind.DEADLINE, FailureKind.CONFIGURATION, FailureKind.NOT_DUE])
def test_failures_that_the_meter_did_not_cause_neither_count_nor_end_the_back_off(kind):
    not_its_fault = replace(SILENT, failure=Failure(kind, "not reached"))
    state = after(SILENT, None, NOON, MINUTE)
    assert after(not_its_fault, None, NOON, MINUTE) is None
    assert after(not_its_fault, state, NOON + MINUTE, MINUTE) is state


def test_a_meter_that_is_not_due_has_the_reason_since_when_it_fails_and_its_next_attempt():
    state = None
    for number in range(3):
        state = after(SILENT, state, NOON + number * MINUTE, MINUTE)
    sample = not_asked(METER, state, NOON + 3 * MINUTE)
    assert sample.failure.kind is FailureKind.NOT_DUE
    assert sample.failure.reason == (
        "no reply within 3 s; failing since 2026-01-01 12:00:00 UTC, next attempt at 2026-01-01 12:04:00 UTC"
    )
    assert (sample.requests, sample.is_retriable) == (0, False)


def test_a_failure_of_a_meter_that_may_be_off_is_not_counted_with_the_silence_before_it():
    may_be_off = replace(METER, may_be_off=True)
    refuses = MeterReading(METER, NOON, failure=Failure(FailureKind.EXCEPTION, "exception 4", 4))
    for meter, failures in ((METER, 101), (may_be_off, 1)):
        state = None
        for number in range(100):
            state = after(replace(SILENT, meter=meter), state, NOON + number * MINUTE, MINUTE)
        state = after(replace(refuses, meter=meter), state, NOON + 100 * MINUTE, MINUTE)
        assert state.failures == failures


def test_a_gateway_that_reports_a_silent_unit_means_silence():
    for code, silent in ((11, True), (4, False)):
        failure = Failure(FailureKind.EXCEPTION, "exception", code)
        assert MeterReading(METER, NOON, failure=failure).is_silent is silent
