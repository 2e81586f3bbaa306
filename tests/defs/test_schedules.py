"""Ticks: the runs that the schedules request, and skipped ticks."""

import warnings
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from dagster import Definitions, RunRequest, build_schedule_context, instance_for_test

from emm_pipeline.cron import Trigger
from emm_pipeline.definitions import build_definitions
from emm_pipeline.defs.partitions import METERS
from emm_pipeline.defs.runs import ScheduledPoll
from emm_pipeline.defs.schedules import decide_polls
from emm_pipeline.polling.sharding import Shard, shards_for
from emm_pipeline.polling.timing import window_of
from emm_pipeline.settings import Settings

NOON = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
EVERY_MINUTE = Trigger()
ONE_SHARD = shards_for({1}, 2500)


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def poll_of(tick: datetime, trigger: Trigger = EVERY_MINUTE, shard: Shard = ONE_SHARD[0]) -> ScheduledPoll:
    return ScheduledPoll(shard, window_of(tick, trigger), run_id="0123456789abcdef")


def decide(in_flight, trigger=EVERY_MINUTE, shards=ONE_SHARD):
    return decide_polls(NOON, trigger, shards, in_flight)


def test_a_free_shard_gets_a_run_with_its_window_a_priority_and_an_end():
    (request,), reasons = decide([])
    assert not reasons
    poll = ScheduledPoll(ONE_SHARD[0], window_of(NOON, EVERY_MINUTE))
    assert poll.tags().items() <= request.tags.items()
    assert int(request.tags["dagster/priority"]) > 0
    assert 60 <= int(request.tags["dagster/max_runtime"]) <= 180


def test_a_run_that_is_late_by_less_than_an_interval_does_not_prevent_the_next_tick():
    requests, reasons = decide([poll_of(NOON - minutes(1))])
    assert requests
    assert not reasons


@pytest.mark.parametrize("second", ["0", "10", "5,35", "0,20,40", "59"])
def test_a_tick_whose_shard_is_polled_by_a_run_that_is_late_by_an_interval_is_skipped_with_the_name_of_the_run(second):
    trigger = Trigger(second=second)
    requests, (reason,) = decide([poll_of(NOON - minutes(2), trigger), poll_of(NOON - minutes(1), trigger)], trigger)
    assert not requests
    assert "01234567" in reason
    assert "11:58:00" in reason


def test_no_tick_waits_for_a_run_older_than_two_intervals():
    requests, _ = decide([poll_of(NOON - minutes(2))])
    assert not requests
    requests, _ = decide([poll_of(NOON - minutes(3))])
    assert requests


def test_a_busy_shard_does_not_prevent_the_poll_of_others():
    shards = shards_for(range(5000), 2500)
    requests, reasons = decide([poll_of(NOON - minutes(2), shard=shards[0])], shards=shards)
    assert [request.tags[".dagster/emm.shard"] for request in requests] == ["1/2"]
    assert len(reasons) == 1


def test_a_fleet_that_has_grown_into_more_shards_is_not_polled_twice():
    requests, _ = decide([poll_of(NOON - minutes(2), shard=Shard(0, 1))], shards=shards_for(range(5000), 2500))
    assert not requests


@pytest.mark.parametrize("second", ["30", "59", "*", "50-59"])
def test_a_poll_that_may_last_into_the_next_minute_does_not_prevent_the_next_tick(second):
    trigger = Trigger(second=second)
    requests, _ = decide([poll_of(NOON - minutes(1), trigger)], trigger)
    assert requests


def test_the_tags_of_a_scheduled_run_contain_its_poll():
    poll = replace(poll_of(NOON), run_id="")
    run = type("Run", (), {"tags": poll.tags(), "run_id": ""})
    assert ScheduledPoll.of_run(run) == poll


def test_no_tag_of_a_scheduled_run_is_shown_in_the_list_of_runs_or_deprecated():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        requests, _ = decide([])
    assert all(key.startswith((".dagster/", "dagster/")) for request in requests for key in request.tags)


@pytest.fixture
def definitions():
    settings = Settings(
        postgres_host="nowhere",
        postgres_user="emm",
        postgres_db="emm",
        meters_per_run=2,
        scheduler_cron_second_trigger="5",
    )
    return build_definitions(settings)


def evaluate(definitions, name, instance):
    schedule = definitions.resolve_schedule_def(name)
    context = build_schedule_context(instance=instance, scheduled_execution_time=NOON)
    return schedule.evaluate_tick(context)


def test_without_meters_a_tick_is_skipped_and_says_what_is_missing(definitions):
    with instance_for_test() as instance:
        tick = evaluate(definitions, "poll_schedule", instance)
    assert not tick.run_requests
    assert "energy_meters" in tick.skip_message


def test_a_tick_requests_a_run_per_shard_each_with_its_own_key(definitions):
    with instance_for_test() as instance:
        instance.add_dynamic_partitions(METERS.name, ["1", "2", "3"])
        tick = evaluate(definitions, "poll_schedule", instance)
    assert len({request.run_key for request in tick.run_requests}) == 2
    assert all(request.partition_key is None for request in tick.run_requests)


def test_a_discovery_tick_requests_one_run(definitions):
    with instance_for_test() as instance:
        tick = evaluate(definitions, "discovery_schedule", instance)
    assert [type(request) for request in tick.run_requests] == [RunRequest]


def test_the_definitions_load_as_the_code_server_loads_them(definitions):
    Definitions.validate_loadable(definitions)
