"""Values that are a part of a register, or need several, compared with their definition."""

import struct

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from emm_pipeline.commissioning.composed import companion_fits, composed_fits, find_all_fits
from emm_pipeline.commissioning.searching import Wanted
from emm_pipeline.fleet import DataType, FunctionCode
from emm_pipeline.readings import Request

WORDS = st.integers(0, 0xFFFF)
SCALES = st.sampled_from([1, 10, 100, 1000])


def signed(bits, width):
    return bits - (1 << width) if bits >> (width - 1) else bits


@settings(deadline=None)
@given(
    words=st.lists(WORDS, min_size=4, max_size=20),
    upper=st.integers(1, 0xFFFF),
    lower=WORDS,
    data=st.data(),
    div=SCALES,
)
def test_halves_that_are_apart_are_found_wherever_they_are(words, upper, lower, data, div):
    place, other = data.draw(
        st.tuples(*[st.integers(0, len(words) - 1)] * 2).filter(lambda each: abs(each[0] - each[1]) > 1)
    )
    words[place], words[other] = lower, upper
    expected = signed(upper << 16 | lower, 32) / div
    fits = composed_fits(words, expected, 0.5 / div, lambda offset: 100 + offset)
    assert any(
        (fit.interpretation.offset, fit.columns) == (place, {"high_register_address": 100 + other})
        and fit.interpretation.data_type is DataType.LONG
        and abs(fit.value - expected) < 1e-9 * abs(expected)
        for fit in fits
    )


@settings(deadline=None)
@given(lower=WORDS, upper=WORDS, div=SCALES)
def test_an_upper_half_that_the_manual_names_is_used_whatever_it_holds(lower, upper, div):
    assume(upper or lower)
    expected = signed(upper << 16 | lower, 32) / div
    fits = companion_fits([lower], expected, abs(expected) * 1e-6, 690, upper)
    assert any(fit.columns == {"high_register_address": 690} for fit in fits)


@settings(deadline=None)
@given(raw=st.integers(1, 0xFFFF), power=st.integers(-10, 10))
def test_a_power_of_ten_that_the_manual_names_is_used(raw, power):
    expected = raw * 10.0**power
    fits = companion_fits([raw], expected, abs(expected) * 1e-9, 5, power % 65536)
    assert any(fit.columns == {"scale_register": 5} and fit.interpretation.data_type is DataType.UINT16 for fit in fits)


@settings(deadline=None)
@given(
    words=st.lists(WORDS, min_size=1, max_size=12),
    bytes_=st.sampled_from([2, 4]),
    expected=st.integers(-99999, 99999).filter(bool),
    companion=st.none() | WORDS,
    factor=st.sampled_from([1.0, -40.0]),
)
def test_whatever_is_found_its_registers_and_columns_give_a_value_near_the_expected_one(
    words, bytes_, expected, companion, factor
):
    words = words * (bytes_ // 2)
    request = Request(FunctionCode.READ_HOLDING_REGISTERS, 50, len(words) * 2 // bytes_, bytes_)
    wanted = Wanted(str(expected), 1.0, factor, None if companion is None else 7)
    beside = [] if companion is None else [0] * (bytes_ // 2 - 1) + [companion]
    for fit in wanted.fits(request, words, beside):
        assert abs(fit.value - expected) <= max(abs(expected) * 0.01, 0.5) * (1 + 1e-6)
        assert fit.columns.get("uses_factor", False) is (factor != 1)


def test_bytes_are_not_searched_where_a_whole_register_gives_the_value():
    assert all("mask" not in fit.columns for fit in find_all_fits([0x5507, 85], 85.0, 0.85, 0.5))


def test_a_float_that_a_display_rounds_is_not_explained_by_halves_of_other_registers():
    words = [*struct.unpack(">HH", struct.pack(">f", 231.43)), 3, 35000]
    assert {len(fit.columns) for fit in find_all_fits(words, 231.4, 2.3, 0.05)} == {0}
