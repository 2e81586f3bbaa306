"""The definition of status: the state of a meter, and the exit code of `emm status`."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from emm_pipeline.cron import Trigger
from emm_pipeline.status import MeterFacts, PollingFacts, RegisterIssue, RegisterIssueKind, State, decide, exit_code

NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
POLLING = PollingFacts(polled_since=NOON - 2 * MINUTE)
READ = MeterFacts(7, first_seen_at=NOON - timedelta(days=1), polled_at=NOON - MINUTE, last_read_at=NOON - MINUTE)
FAILS = replace(READ, failing_since=NOON - 5 * MINUTE, reason="10.0.0.5:502 unit 1: no reply within 3.0 s", silent=True)
ABSENT = RegisterIssue("powerFactorL3", RegisterIssueKind.ABSENT, "the device reports no value for it", NOON - MINUTE)


def test_a_meter_that_was_read_and_delivered_everything_is_ok():
    assert decide(READ, POLLING).state is State.OK


def test_a_meter_that_nothing_tried_to_read_for_two_intervals_is_stale_and_says_what_stopped():
    old = replace(READ, polled_at=NOON - 3 * MINUTE, last_read_at=NOON - 3 * MINUTE)
    status = decide(old, replace(POLLING, stopped="poll_schedule is switched off"))
    assert status.state is State.STALE
    assert "poll_schedule is switched off" in status.reason
    assert status.since == NOON - 3 * MINUTE


def test_a_meter_that_failed_before_polling_stopped_is_stale_because_its_present_state_is_unknown():
    assert decide(replace(FAILS, polled_at=NOON - 9 * MINUTE, last_read_at=None), POLLING).state is State.STALE


def test_a_meter_that_fails_says_why_since_when_and_what_to_do():
    status = decide(FAILS, POLLING)
    assert (status.state, status.since) == (State.FAILING, NOON - 5 * MINUTE)
    assert "no reply" in status.reason
    assert "emm meters check" in status.what_to_do


def test_a_silent_meter_that_may_be_off_is_asleep_and_one_that_replies_with_an_error_is_failing():
    assert decide(replace(FAILS, may_be_off=True), POLLING).state is State.ASLEEP
    assert decide(replace(FAILS, may_be_off=True, silent=False), POLLING).state is State.FAILING


def test_a_meter_whose_points_wait_in_the_outbox_is_waiting_for_the_store():
    waiting = replace(POLLING, waiting_since=NOON - 3 * MINUTE, waiting_reason="InfluxDB does not answer")
    status = decide(READ, waiting)
    assert (status.state, status.since) == (State.WAITING, NOON - 3 * MINUTE)
    assert "InfluxDB does not answer" in status.reason
    before = replace(READ, last_read_at=NOON - 4 * MINUTE)
    assert decide(before, waiting).state is State.OK, "its points are older than those that wait"


def test_a_meter_with_an_absent_register_is_degraded_and_names_it():
    status = decide(replace(READ, issues=(ABSENT,)), POLLING)
    assert (status.state, status.since) == (State.DEGRADED, ABSENT.since)
    assert status.reason == "powerFactorL3: the device reports no value for it"
    assert status.what_to_do == "if the device does not have them: emm registers accept-absent 7"


def test_of_many_absent_registers_the_first_are_named_and_the_others_counted():
    issues = tuple(replace(ABSENT, measurement=f"m{number}") for number in range(9))
    assert decide(replace(READ, issues=issues), POLLING).reason.endswith("; and 6 more registers")


def test_a_wrong_clock_makes_every_meter_degraded():
    assert decide(READ, replace(POLLING, clock_issue="it shows 1970")).state is State.DEGRADED


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        (replace(FAILS, enabled=False), State.DISABLED),
        (replace(READ, configuration_issue="energy_meters, id 1: port is 0"), State.MISCONFIGURED),
        (MeterFacts(first_seen_at=NOON), State.NEW),
        (MeterFacts(), State.NEW),
        (MeterFacts(first_seen_at=NOON - timedelta(hours=1)), State.STALE),
    ],
)
def test_a_reason_that_prevents_reading_comes_first(facts, state):
    assert decide(facts, POLLING).state is state


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ([], 0),
        ([State.OK, State.ASLEEP, State.DISABLED, State.NEW], 0),
        ([State.OK, State.DEGRADED], 1),
        ([State.WAITING, State.OK], 1),
        ([State.DEGRADED, State.FAILING], 2),
        ([State.STALE], 2),
        ([State.MISCONFIGURED], 2),
        ([State.OK, None], 2),
    ],
)
def test_the_exit_code_is_that_of_the_worst_state(states, code):
    assert exit_code(states) == code


@pytest.mark.parametrize(
    ("trigger", "now", "since"),
    [
        (Trigger(), "2026-07-01T12:00:30", "2026-07-01T11:58:00"),
        (Trigger(), "2026-07-01T12:01:00", "2026-07-01T11:59:00"),
        (Trigger(minute="*/15"), "2026-07-01T12:16:30", "2026-07-01T12:00:00"),
        (Trigger(hour="2", minute="30"), "2026-07-01T12:00:00", "2026-06-30T02:30:00"),
        (Trigger(hour="8-17", minute="0"), "2026-07-01T08:30:00", "2026-06-30T17:00:00"),
    ],
)
def test_two_intervals_are_those_of_the_schedule_however_irregular(trigger, now, since):
    at = datetime.fromisoformat(now).replace(tzinfo=UTC)
    assert trigger.two_intervals_before(at) == datetime.fromisoformat(since).replace(tzinfo=UTC)
