"""A scheduled run is red only when something new has failed; what is reported of each meter."""

from datetime import UTC, datetime, timedelta

import pytest

from emm_pipeline.config_db.device_state.meter_status import MeterStatus
from emm_pipeline.polling.report_plan import OBSERVED_EVERY, plan_report, status_interval, statuses_after
from emm_pipeline.polling.results import PollResult

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def read(id_=1):
    return PollResult(id_, None, "10.0.0.5:502", 1, None, read_at=NOW, points=3)


def failed(id_=1, reason="no reply"):
    return PollResult(id_, None, "10.0.0.5:502", 1, reason, unread=True, silent=True)


def asleep(id_=1):
    return PollResult(id_, None, "10.0.0.5:502", 1, None, unread=True, asleep="no reply", silent=True)


def after(result, before=None, now=NOW, interval=timedelta(0)):
    known = {before.id: before} if before else {}
    plan = plan_report([result], known, (), interval, now)
    (status,) = statuses_after([result], known, plan, now)
    return plan, status


def test_a_scheduled_run_is_red_when_a_meter_begins_to_fail_and_green_when_it_continues_to_fail():
    plan, status = after(failed())
    assert plan.is_red(scheduled=True, unstored=False)
    later, _ = after(failed(), status, NOW + MINUTE)
    assert later.failing
    assert not later.is_red(scheduled=True, unstored=False)


def test_a_run_that_a_person_started_is_red_whenever_one_of_its_meters_fails():
    _, status = after(failed())
    assert after(failed(), status)[0].is_red(scheduled=False, unstored=False)
    assert not after(read())[0].is_red(scheduled=False, unstored=False)


@pytest.mark.parametrize("scheduled", [True, False])
def test_a_run_whose_points_are_not_stored_is_red(scheduled):
    assert after(read())[0].is_red(scheduled=scheduled, unstored=True)


def test_a_red_run_states_all_meters_that_fail_now():
    known = {1: MeterStatus(1, failing_since=NOW - HOUR), 2: MeterStatus(2)}
    plan = plan_report([failed(1), failed(2), read(3)], known, (), timedelta(0), NOW)
    assert [each.id for each in plan.begin_to_fail] == [2]
    assert [each.id for each in plan.failing] == [1, 2]


def test_a_meter_that_has_recovered_is_planned_and_read_so_that_its_page_forgets_the_failed_run():
    plan, status = after(read(), MeterStatus(1, failing_since=NOW - HOUR, recorded_at=NOW), interval=HOUR)
    assert plan.recovered == plan.read != ()
    assert status.failing_since is None


def test_a_meter_that_only_dagster_counts_as_failed_is_stated_again():
    known = {1: MeterStatus(1, recorded_at=NOW)}
    assert plan_report([read()], known, {1}, HOUR, NOW).recovered


def test_each_run_that_read_any_meter_reports_at_least_the_one_with_the_oldest_report():
    known = {id_: MeterStatus(id_, recorded_at=NOW - id_ * MINUTE) for id_ in (1, 2, 3)}
    plan = plan_report([read(1), read(2), read(3)], known, (), HOUR, NOW)
    assert [each.id for each in plan.read] == [3]


def test_a_failure_is_observed_when_it_begins_when_its_reason_changes_and_from_time_to_time():
    plan, status = after(failed())
    assert plan.observed
    plan, status = after(failed(), status, NOW + MINUTE)
    assert not plan.observed
    plan, status = after(failed(reason="refused"), status, NOW + 2 * MINUTE)
    assert plan.observed
    assert not after(failed(reason="refused"), status, NOW + 3 * MINUTE)[0].observed
    assert after(failed(reason="refused"), status, NOW + 3 * MINUTE + OBSERVED_EVERY)[0].observed


def test_waiting_for_the_next_attempt_does_not_count_as_a_new_reason():
    _, status = after(failed(reason="no reply"))
    waits = failed(reason="no reply; failing since 2026-07-01 11:00:00 UTC, asked again at 2026-07-01 12:05:00 UTC")
    assert not after(waits, status, NOW + MINUTE)[0].observed


def test_a_meter_that_is_asleep_is_neither_red_nor_read_and_a_real_failure_after_it_is_new():
    plan, status = after(asleep())
    assert not plan.is_red(scheduled=True, unstored=False)
    assert not plan.is_red(scheduled=False, unstored=False)
    assert plan.read == plan.failing == ()
    assert (status.asleep, status.failing_since, status.reason) == (True, NOW, "no reply")
    assert after(failed(reason="exception 4"), status, NOW + MINUTE)[0].begin_to_fail


def test_a_failure_in_the_morning_does_not_last_since_the_evening_in_which_the_meter_fell_asleep():
    _, status = after(asleep())
    _, status = after(asleep(), status, NOW + MINUTE)
    assert (status.failing_since, status.failures_in_a_row) == (NOW, 2)
    _, status = after(failed(reason="exception 4"), status, NOW + 12 * HOUR)
    assert (status.failing_since, status.failures_in_a_row) == (NOW + 12 * HOUR, 1)
    _, status = after(asleep(), status, NOW + 13 * HOUR)
    assert (status.failing_since, status.failures_in_a_row) == (NOW + 13 * HOUR, 1)


def test_unless_it_is_set_the_status_interval_grows_with_the_fleet():
    chosen = {meters: status_interval(None, meters) for meters in (1, 100, 1000, 6000, 50_000)}
    assert chosen == {1: timedelta(0), 100: timedelta(0), 1000: 10 * MINUTE, 6000: HOUR, 50_000: HOUR}


def test_a_status_interval_that_is_set_is_used_for_any_fleet():
    assert status_interval(0, 50_000) == timedelta(0)
    assert status_interval(7200, 1) == 2 * HOUR
