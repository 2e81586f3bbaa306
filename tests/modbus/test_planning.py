import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emm_pipeline.fleet import DataType, FunctionCode, MeterType, Register
from emm_pipeline.modbus.planning import plan_confirmations, plan_labels, plan_requests
from emm_pipeline.readings import Request

HOLDING, INPUT = FunctionCode.READ_HOLDING_REGISTERS, FunctionCode.READ_INPUT_REGISTERS


def register(address, data_type=DataType.FLOAT, function_code=INPUT):
    return Register(address, f"r{address}", None, data_type, function_code)


def plan(*registers, limit=125, max_gap=20):
    meter_type = MeterType("t", registers, max_registers_per_request=limit, max_gap=max_gap)
    return [(r.function_code, r.address, r.count) for r in plan_requests(meter_type)]


def test_a_type_without_registers_needs_no_request():
    assert plan() == []


def test_adjacent_registers_are_read_by_one_request():
    assert plan(register(0), register(2), register(4)) == [(INPUT, 0, 6)]


def test_the_order_of_the_rows_does_not_matter():
    assert plan(register(4), register(0), register(2)) == [(INPUT, 0, 6)]


@pytest.mark.parametrize(
    ("gap", "requests"), [(19, [(INPUT, 0, 23)]), (20, [(INPUT, 0, 24)]), (21, [(INPUT, 0, 2), (INPUT, 23, 2)])]
)
def test_a_gap_is_read_up_to_max_gap_and_never_beyond(gap, requests):
    assert plan(register(0), register(2 + gap), max_gap=20) == requests


def test_with_max_gap_0_only_adjacent_registers_are_joined():
    assert plan(register(0), register(2), register(5), max_gap=0) == [(INPUT, 0, 4), (INPUT, 5, 2)]


@pytest.mark.parametrize(("limit", "counts"), [(6, [6]), (5, [2, 4]), (4, [2, 4]), (3, [2, 2, 2])])
def test_a_register_that_would_span_the_end_of_a_request_starts_a_new_one(limit, counts):
    assert sorted(count for _, _, count in plan(register(0), register(2), register(4), limit=limit)) == counts


def test_exactly_125_registers_fit_one_request_and_126_do_not():
    words = [register(a, DataType.UINT16) for a in range(126)]
    assert plan(*words[:125]) == [(INPUT, 0, 125)]
    assert len(plan(*words)) == 2


def test_the_last_address_there_is_can_be_read():
    assert plan(register(65535, DataType.INT)) == [(INPUT, 65535, 1)]


def test_overlapping_and_duplicate_registers_are_read_once():
    assert plan(register(0, DataType.UINT64), register(2), register(2), register(3)) == [(INPUT, 0, 5)]


def test_overlapping_registers_that_together_exceed_the_limit_are_each_read_whole():
    assert plan(register(0, DataType.INT64), register(2, DataType.INT64), limit=4) == [(INPUT, 0, 4), (INPUT, 2, 4)]


def test_function_codes_are_never_mixed():
    assert plan(register(0), register(2, function_code=HOLDING)) == [(HOLDING, 2, 2), (INPUT, 0, 2)]


def test_because_of_the_limit_requests_are_separated_at_the_widest_gap_and_not_greedily():
    """A greedy planner reads 0 to 8 with the gap of 7; a division at that gap reads only the gap of 1."""
    words = [register(a, DataType.UINT16) for a in (0, 8, 10, 11)]
    assert plan(*words, limit=10) == [(INPUT, 0, 1), (INPUT, 8, 4)]


def test_a_register_wider_than_a_request_may_be_is_refused_by_name():
    with pytest.raises(ValueError, match=r"type t: r7 takes 4 registers, but max_registers_per_request is 3"):
        plan(register(7, DataType.FLOAT64), limit=3)


def test_a_request_says_what_it_reads():
    assert str(Request(INPUT, 0, 80)) == "function 4, registers 0-79"
    assert str(Request(HOLDING, 7, 1)) == "function 3, register 7"


def partitions(items):
    """Yield all ways to divide the items into groups."""
    if not items:
        yield []
        return
    first, *others = items
    for groups in partitions(others):
        yield [[first], *groups]
        for i, group in enumerate(groups):
            yield [*groups[:i], [first, *group], *groups[i + 1 :]]


def cheapest_by_brute_force(registers, limit, max_gap):
    """Return the lowest (cost, requests) of all ways to divide the registers among requests."""
    best = (math.inf, math.inf)
    for groups in partitions(registers):
        counts = [max(r.end for r in g) - min(r.register_address for r in g) for g in groups]
        if all(count <= limit for count in counts):
            best = min(best, (sum(counts) + max_gap * len(counts), len(counts)))
    return best


small_maps = st.lists(
    st.builds(
        register,
        st.integers(0, 24),
        st.sampled_from([DataType.UINT16, DataType.FLOAT, DataType.INT64]),
    ),
    min_size=1,
    max_size=6,
)


@settings(deadline=None)  # a busy machine must not fail a test
@given(registers=small_maps, limit=st.integers(4, 16), max_gap=st.integers(0, 8))
def test_no_other_plan_of_a_small_map_is_cheaper(registers, limit, max_gap):
    requests = plan(*registers, limit=limit, max_gap=max_gap)
    cost = sum(count for _, _, count in requests) + max_gap * len(requests)
    assert (cost, len(requests)) == cheapest_by_brute_force(registers, limit, max_gap)


MEASURED = [each for each in DataType if each is not DataType.STRING]
any_map = st.lists(
    st.builds(register, st.integers(0, 2000), st.sampled_from(MEASURED), st.sampled_from(FunctionCode)), max_size=60
)


@settings(deadline=None)  # a busy machine must not fail a test
@given(registers=any_map, limit=st.integers(4, 125), max_gap=st.integers(0, 50))
def test_every_register_lies_whole_in_a_request_that_fits_the_limit(registers, limit, max_gap):
    requests = plan_requests(MeterType("t", tuple(registers), limit, max_gap))
    assert all(any(request.covers(r) for request in requests) for r in registers)
    assert all(1 <= request.count <= limit for request in requests)
    assert all(before < after for before, after in pairwise(requests))


@settings(deadline=None)  # a busy machine must not fail a test
@given(registers=any_map, max_gap=st.integers(0, 50))
def test_no_request_reads_a_gap_wider_than_max_gap(registers, max_gap):
    for request in plan_requests(MeterType("t", tuple(registers), max_gap=max_gap)):
        wanted = {a for r in registers if request.covers(r) for a in range(r.register_address, r.end)}
        assert all(after - before - 1 <= max_gap for before, after in pairwise(sorted(wanted)))


def scaled(address, scale_register, function_code=HOLDING):
    return Register(address, f"r{address}", None, DataType.INT, function_code, scale_register=scale_register)


def test_one_request_reads_a_value_and_its_scale_factor_over_a_gap_wider_than_max_gap():
    assert plan(scaled(181, 104), max_gap=0) == [(HOLDING, 104, 78)]


def test_scale_factors_too_far_away_are_read_before_their_values_and_again_after_all():
    meter_type = MeterType("t", (scaled(0, 900), register(500, DataType.INT, HOLDING)))
    requests = plan_requests(meter_type)
    assert [request.address for request in requests] == [900, 0, 500]
    assert plan_confirmations(meter_type, requests) == (Request(HOLDING, 900, 1),)


def test_a_gap_to_the_scale_factor_that_a_unit_does_not_support_is_not_bridged():
    meter_type = MeterType("t", (scaled(181, 104),))
    requests = plan_requests(meter_type, [Request(HOLDING, 105, 76)])
    assert requests == (Request(HOLDING, 104, 1), Request(HOLDING, 181, 1))
    assert plan_confirmations(meter_type, requests) == (Request(HOLDING, 104, 1),)


@settings(deadline=None)  # a busy machine must not fail a test
@given(
    registers=st.lists(st.builds(scaled, st.integers(0, 400), st.integers(0, 400)), min_size=1, max_size=10),
    limit=st.integers(4, 125),
    max_gap=st.integers(0, 50),
)
def test_a_value_comes_with_its_scale_factor_or_between_two_readings_of_it(registers, limit, max_gap):
    meter_type = MeterType("t", tuple(registers), limit, max_gap)
    requests = plan_requests(meter_type)
    everything = [*requests, *plan_confirmations(meter_type, requests)]
    assert all(request.count <= limit for request in everything)
    for each in registers:
        (companion,) = each.companions
        values = [place for place, request in enumerate(everything) if request.covers(each)]
        factors = [place for place, request in enumerate(everything) if request.covers(companion)]
        assert set(values) & set(factors) or any(min(factors) < place < max(factors) for place in values)
        if max(each.end, companion.end) - min(each.register_address, companion.register_address) <= limit:
            assert set(values) & set(factors), "one request can read both"


def test_texts_are_read_by_separate_requests():
    text = Register(40, "serialNumber", None, DataType.STRING, HOLDING, length=8)
    meter_type = MeterType("t", (register(30, DataType.INT, HOLDING), text))
    assert plan_requests(meter_type) == (Request(HOLDING, 30, 1),)
    assert plan_labels(meter_type) == (Request(HOLDING, 40, 8),)
