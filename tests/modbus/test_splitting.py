"""A refused request is split until each readable value is read; unsupported registers are omitted from then on."""

from datetime import UTC, datetime, timedelta
from itertools import combinations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from emm_pipeline.fleet import DataType, EnergyMeter, FunctionCode, MeterType, Register
from emm_pipeline.modbus.meter_poll import MeterPoll
from emm_pipeline.modbus.planning import plan_requests
from emm_pipeline.readings import FailureKind, Request

INPUT = FunctionCode.READ_INPUT_REGISTERS
METER = EnergyMeter(1, "gateway", 502, 7, "t")


def register(address, data_type=DataType.FLOAT):
    return Register(address, f"r{address}", None, data_type, INPUT)


def asks(meter_type, refuses, known=()):
    """Read a unit that answers each request with the exception code `refuses(request)`; None means registers."""
    requests = plan_requests(meter_type, [Request(r.function_code, r.address, r.count) for r in known])
    poll = MeterPoll(METER, meter_type, requests, tuple(known))
    asked = []
    while not poll.is_done:
        poll.begin_turn()
        while request := poll.next_request:
            asked.append(request)
            poll.request_sent()
            if code := refuses(request):
                poll.take_exception(f"exception {code}", code)
            else:
                poll.take_registers(bytes(2 * request.count))
    return poll.reading(), asked


def without(*addresses, code=2):
    """Return a unit that does not support these addresses."""
    return lambda request: code if any(request.address <= a < request.end for a in addresses) else None


def spans(sample):
    return [(refused.address, refused.count) for refused in sample.unsupported]


def read_registers(sample, meter_type):
    requests = [block.request for block in sample.blocks]
    return {r for r in meter_type.registers if any(request.covers(r) for request in requests)}


def test_an_illegal_address_affects_only_its_own_register_and_is_reported():
    meter_type = MeterType("t", tuple(register(a) for a in range(0, 80, 2)))
    sample, asked = asks(meter_type, without(42))
    assert read_registers(sample, meter_type) == set(meter_type.registers) - {register(42)}
    assert sample.failure is None, "all that can be read was read"
    assert spans(sample) == [(42, 2)]
    [notice] = sample.notices
    assert "function 4, registers 42-43 (r42): refused with exception 2 (illegal data address)" in notice
    assert len(asked) <= 1 + 2 * 6, "halves, not one register after the other"


def test_unsupported_registers_are_not_requested_in_the_next_poll_but_still_reported():
    meter_type = MeterType("t", tuple(register(a) for a in range(0, 80, 2)))
    first, _ = asks(meter_type, without(42))
    second, asked = asks(meter_type, without(42), first.unsupported)
    assert asked == [Request(INPUT, 0, 42), Request(INPUT, 44, 36)]
    assert (second.unsupported, second.notices) == (first.unsupported, first.notices)
    assert len(second.blocks) == 2


def test_a_gap_that_the_unit_does_not_support_is_not_read_again():
    meter_type = MeterType("t", (register(0), register(2), register(10)))
    sample, asked = asks(meter_type, without(6))
    assert asked == [Request(INPUT, 0, 12), Request(INPUT, 0, 4), Request(INPUT, 10, 2)]
    assert spans(sample) == [(4, 6)]
    assert "a gap between measurements" in sample.notices[0]
    again, asked = asks(meter_type, without(6), sample.unsupported)
    assert asked == [Request(INPUT, 0, 4), Request(INPUT, 10, 2)]
    assert again.failure is None


def test_a_gap_is_not_considered_unsupported_if_a_value_was_refused():
    meter_type = MeterType("t", (register(0), register(2), register(10)))
    sample, _ = asks(meter_type, without(2))
    assert spans(sample) == [(2, 2)]


def test_a_unit_that_takes_fewer_registers_per_request_is_read_and_the_setting_to_lower_is_named():
    meter_type = MeterType("t", tuple(register(a) for a in range(0, 100, 2)))
    sample, _ = asks(meter_type, lambda request: 3 if request.count > 60 else None)
    assert read_registers(sample, meter_type) == set(meter_type.registers)
    assert (sample.failure, sample.unsupported) == (None, ())
    [notice] = sample.notices
    assert "emm types set t max_registers_per_request=50 (now 125)" in notice


@pytest.mark.parametrize("code", [2, 3, 4])
def test_a_unit_that_refuses_everything_has_failed_and_no_unsupported_registers_are_saved(code):
    meter_type = MeterType("t", tuple(register(a) for a in range(0, 20, 2)))
    sample, _ = asks(meter_type, lambda _: code)
    assert (sample.failure.kind, sample.failure.exception_code) == (FailureKind.EXCEPTION, code)
    assert "registers 0-19 (r0, r2, r4 and 7 more)" in sample.failure.reason
    assert (sample.unsupported, sample.notices) == ((), ())


def test_a_register_that_the_device_fails_to_give_fails_the_meter_and_is_asked_for_again():
    """Exception 4 may be temporary: if the register were omitted for a day, data would be lost."""
    meter_type = MeterType("t", (register(0), register(2), register(4)))
    sample, _ = asks(meter_type, without(2, code=4))
    assert read_registers(sample, meter_type) == {register(0), register(4)}
    assert sample.failure.exception_code == 4
    assert "registers 2-3 (r2)" in sample.failure.reason
    assert sample.unsupported == ()


def test_a_value_inside_of_a_refused_one_is_read():
    meter_type = MeterType("t", (register(0, DataType.INT64), register(2, DataType.UINT16), register(10)))
    sample, _ = asks(meter_type, without(0))
    assert read_registers(sample, meter_type) == {register(2, DataType.UINT16), register(10)}
    again, asked = asks(meter_type, without(0), sample.unsupported)
    assert again.failure is None
    assert all(without(0)(request) is None for request in asked)


def test_a_type_without_supported_registers_has_no_requests():
    meter_type = MeterType("t", (register(0),))
    assert plan_requests(meter_type, [Request(INPUT, 0, 2)]) == ()
    assert plan_requests(meter_type, [Request(FunctionCode.READ_HOLDING_REGISTERS, 0, 2)]) == (Request(INPUT, 0, 2),)


def test_what_was_refused_is_tried_again_after_a_day():
    meter_type = MeterType("t", (register(0), register(2)))
    sample, _ = asks(meter_type, without(2))
    [refused] = sample.unsupported
    assert refused.refused_at == sample.time
    assert refused.tried_again_at - refused.refused_at == timedelta(hours=24)
    assert refused.refused_at <= datetime.now(UTC)


maps = st.lists(
    st.builds(register, st.integers(0, 60), st.sampled_from([DataType.UINT16, DataType.FLOAT, DataType.INT64])),
    min_size=1,
    max_size=12,
    unique_by=lambda r: r.register_address,
)


OVERLAPPING = [register(0, DataType.INT64), register(1, DataType.INT64), register(2, DataType.UINT16)]


@settings(deadline=None)  # a busy machine must not fail a test
@given(registers=maps, unknown=st.sets(st.integers(0, 64), max_size=12), max_gap=st.integers(0, 20))
@example(OVERLAPPING, {0, 1}, 0).via("a part of two values that overlap was asked for twice")
def test_every_readable_register_is_read_in_the_same_poll_whatever_the_unit_does_not_know(registers, unknown, max_gap):
    meter_type = MeterType("t", tuple(registers), max_gap=max_gap)
    refuses = without(*unknown)
    sample, asked = asks(meter_type, refuses)
    readable = {r for r in registers if not refuses(Request(INPUT, r.register_address, r.count))}
    assert read_registers(sample, meter_type) == readable
    assert bool(sample.failure) == (not readable)
    assert len(asked) <= 4 * len(registers)
    assert all(before != after for before, after in combinations(asked, 2)), "nothing is asked twice"


@settings(deadline=None)  # a busy machine must not fail a test
@given(registers=maps, unknown=st.sets(st.integers(0, 64), max_size=6), max_gap=st.integers(0, 20))
def test_after_a_few_polls_nothing_is_refused_any_more_and_all_readable_registers_are_read(registers, unknown, max_gap):
    meter_type = MeterType("t", tuple(registers), max_gap=max_gap)
    refuses = without(*unknown)
    readable = {r for r in registers if not refuses(Request(INPUT, r.register_address, r.count))}
    known = ()
    for _ in range(4):
        sample, asked = asks(meter_type, refuses, known)
        assert read_registers(sample, meter_type) == readable
        known = sample.unsupported
    assert not readable or not any(refuses(request) for request in asked)
    assert len({(r.address, r.count) for r in known}) == len(known)


@settings(deadline=None)  # a busy machine must not fail a test
@given(registers=maps, limit=st.integers(4, 40))
def test_a_unit_that_takes_fewer_registers_than_it_is_asked_for_is_read_whole(registers, limit):
    meter_type = MeterType("t", tuple(registers))
    sample, _ = asks(meter_type, lambda request: 3 if request.count > limit else None)
    assert read_registers(sample, meter_type) == set(registers)
    assert sample.failure is None
