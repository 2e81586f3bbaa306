"""Poll results of each meter, and the meters of each shard."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emm_pipeline.fleet import ConfigurationIssue, DataType, EnergyMeter, Fleet, FunctionCode, MeterType, Register
from emm_pipeline.polling.plan import plan_meters, plan_shard
from emm_pipeline.polling.results import FleetResult, results_of
from emm_pipeline.polling.sharding import Shard, shards_for
from emm_pipeline.readings import PollPoint

NOON = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
VOLTAGE = Register(0, "voltageL1", "V", DataType.FLOAT, FunctionCode.READ_INPUT_REGISTERS)
METERS = tuple(EnergyMeter(id_, f"10.0.0.{id_}", 502, 1, "sdm630") for id_ in (1, 2, 3))
BAD_ROW = ConfigurationIssue("energy_meters", "id 9", "port", "is 0; allowed is 1 to 65535", meter_id=9)
FLEET = Fleet(METERS, {"sdm630": MeterType("sdm630", (VOLTAGE,)), "other": MeterType("other")}, (BAD_ROW,))


def record(id_, *, error=None, points=1, silent=False):
    return PollPoint(NOON, id_, None, error is None, 12.0, 2, points if error is None else 0, error, silent=silent)


def report(*records, **store):
    return FleetResult(NOON, NOON, NOON, records, **store)


def test_a_meter_that_was_read_at_all_sample_times_is_ok():
    plan = plan_meters(FLEET, {1})
    (outcome,) = results_of(plan, [report(record(1)), report(record(1))])
    assert outcome.ok
    assert (outcome.points, outcome.requests) == (2, 4)


def test_a_meter_that_was_not_read_at_one_sample_time_has_failed_and_reports_how_many():
    plan = plan_meters(FLEET, {1})
    (outcome,) = results_of(plan, [report(record(1)), report(record(1, error="no reply within 3 s"))])
    assert outcome.reason == "no reply within 3 s (at 1 of 2 sample times)"


@pytest.mark.parametrize(
    ("records", "reason", "asleep"),
    [
        ("silent silent", None, "no reply (at 2 of 2 sample times)"),
        ("read silent", None, "no reply (at 1 of 2 sample times)"),
        ("silent read", None, None),
        ("fails silent", "exception 4 (at 1 of 2 sample times)", None),
        ("silent fails", "exception 4 (at 1 of 2 sample times)", None),
    ],
)
def test_silence_at_any_sample_time_is_not_a_failure_of_a_meter_that_may_be_off(records, reason, asleep):
    kinds = {
        "read": record(1),
        "silent": record(1, error="no reply", silent=True),
        "fails": record(1, error="exception 4"),
    }
    fleet = replace(FLEET, meters=(replace(METERS[0], may_be_off=True),))
    (outcome,) = results_of(plan_meters(fleet, {1}), [report(kinds[each]) for each in records.split()])
    assert (outcome.reason, outcome.asleep) == (reason, asleep)
    assert outcome.silent is bool(asleep)


def test_only_a_meter_with_a_rejected_point_has_failed():
    plan = plan_meters(FLEET, {1, 2})
    bad, good = results_of(plan, [report(record(1), record(2), unstored={1: "1 points refused: type conflict"})])
    assert bad.reason == "1 points refused: type conflict"
    assert good.ok


def test_a_meter_whose_points_wait_in_the_outbox_was_read():
    plan = plan_meters(FLEET, {1})
    (outcome,) = results_of(plan, [report(record(1), store_problems=("InfluxDB is unavailable; 1 points wait",))])
    assert outcome.ok


def test_a_meter_with_a_configuration_issue_fails_with_it_and_does_not_affect_others():
    outcomes = results_of(plan_meters(FLEET, {1, 9}), [report(record(1))])
    assert [outcome.ok for outcome in outcomes] == [True, False]
    assert "port is 0" in outcomes[1].reason


def test_a_removed_meter_is_reported_as_not_enabled():
    (outcome,) = results_of(plan_meters(FLEET, {42}), [])
    assert "not in energy_meters" in outcome.reason


def test_a_plan_contains_only_the_types_of_its_meters():
    assert set(plan_meters(FLEET, {1}).types) == {"sdm630"}


def test_a_meter_is_polled_from_its_discovery_on():
    plan = plan_shard(FLEET, Shard(), discovered={1, 3, 9})
    assert [meter.id for meter in plan.meters] == [1, 3]
    assert set(plan.unreadable) == {9}


@settings(deadline=None)  # a busy machine must not fail a test
@given(st.integers(1, 40), st.integers(1, 30), st.integers(1, 10))
def test_every_meter_is_in_one_shard_and_no_gateway_is_in_two(gateways, meters, meters_per_run):
    fleet = Fleet(
        tuple(
            EnergyMeter(g * 100 + u, f"gateway{g}", 502, u, "sdm630") for g in range(gateways) for u in range(meters)
        ),
        {"sdm630": MeterType("sdm630", (VOLTAGE,))},
    )
    ids = {meter.id for meter in fleet.meters}
    plans = [plan_shard(fleet, shard, ids) for shard in shards_for(ids, meters_per_run)]
    assert sorted(meter.id for plan in plans for meter in plan.meters) == sorted(ids)
    if meters_per_run == 1:
        assert [len(plan.meters) for plan in plans] == [1] * len(ids)
        return
    hosts = [{meter.host for meter in plan.meters} for plan in plans]
    assert sum(map(len, hosts)) == gateways


def test_an_empty_fleet_has_one_shard():
    assert shards_for((), 2500) == [Shard(0, 1)]
    assert len(shards_for(range(2501), 2500)) == 2
    assert shards_for((), 1) == [Shard(0, 1)]


def test_shards_of_another_division_may_hold_the_same_gateway():
    assert Shard(0, 1).overlaps(Shard(1, 2))
    assert not Shard(0, 2).overlaps(Shard(1, 2))
    assert Shard(0, 2).overlaps(Shard(meter_id=4))
    assert Shard(meter_id=4).overlaps(Shard(0, 1))
    assert not Shard(meter_id=4).overlaps(Shard(meter_id=5))
    assert Shard(meter_id=4).overlaps(Shard(meter_id=4))


@pytest.mark.parametrize("shard", [Shard(3, 7), Shard(meter_id=17)])
def test_a_runs_tag_contains_its_shard(shard):
    assert Shard.parse(str(shard)) == shard


def test_misconfigured_meters_are_reported_by_the_first_shard_only():
    later = plan_shard(replace(FLEET), Shard(1, 2), {1, 2, 3, 9})
    assert not later.unreadable


def test_a_run_of_its_own_reports_a_misconfigured_meter_too():
    assert set(plan_shard(FLEET, Shard(meter_id=9), {1, 2, 3, 9}).unreadable) == {9}
    assert not plan_shard(FLEET, Shard(meter_id=1), {1, 2, 3, 9}).unreadable
