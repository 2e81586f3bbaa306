"""Interpretation of registers of an unknown device."""

import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.meters import encode_value

from emm_pipeline.commissioning.fitting import SCALES, difference, find_fits, tolerance
from emm_pipeline.commissioning.interpreting import LAYOUTS, PLAIN_TYPES, grid, interpret, no_value
from emm_pipeline.fleet import DataType, Order

VALUES = {  # each is only in the range of its own type, if possible
    DataType.INT: -2345,
    DataType.LONG: -231_412_345,
    DataType.FLOAT: 231.4,
    DataType.UINT16: 52_314,
    DataType.UINT32: 3_231_412_345,
    DataType.INT64: -9_231_412_345_678,
    DataType.UINT64: 2**63 + 231_412_345_678,
    DataType.FLOAT64: 231.41234567,
}


def fits_of(words, expected):
    return find_fits(words, float(expected), tolerance(str(expected)))


def as_fit(fit):
    found = fit.interpretation
    return found.offset, found.data_type, found.layout.word_order, found.layout.byte_order, fit.scale


@pytest.mark.parametrize(("data_type", "layout"), list(product(PLAIN_TYPES, LAYOUTS)), ids=lambda each: each.name)
def test_the_right_type_and_order_is_found_in_each_case(data_type, layout):
    value = VALUES[data_type]
    words = encode_value(value, data_type, layout.word_order, layout.byte_order)
    fits = fits_of(words, value)
    word_order = layout.word_order if data_type.count > 1 else Order.BIG_ENDIAN  # a single register has none
    assert [as_fit(fit) for fit in fits] == [(0, data_type, word_order, layout.byte_order, 1.0)]
    assert fits[0].value == pytest.approx(value)


@pytest.mark.parametrize("scale", SCALES)
def test_the_scale_is_found_for_every_power_of_ten(scale):
    words = encode_value(23_141, DataType.LONG)
    assert as_fit(fits_of(words, f"{23_141 * scale:.6g}")[0]) == (0, DataType.LONG, 2, 2, scale)


@given(
    st.sampled_from([DataType.INT, DataType.LONG, DataType.INT64]),
    st.sampled_from(LAYOUTS),
    st.sampled_from(SCALES),
    st.data(),
)
def test_the_right_interpretation_is_always_among_the_fits(data_type, layout, scale, data):
    bits = 16 * data_type.count - 1
    raw = data.draw(st.integers(-(2**bits), 2**bits - 1).filter(bool))
    words = encode_value(raw, data_type, layout.word_order, layout.byte_order)
    fits = find_fits(words, raw * scale, abs(raw * scale) * 0.001)
    found = [fit for fit in fits if fit.interpretation.data_type is data_type and fit.interpretation.raw == raw]
    assert any(math.isclose(fit.value, raw * scale) for fit in found)


def test_if_signed_and_unsigned_types_fit_the_difference_is_explained():
    signed, unsigned = fits_of([2314], 231.4)
    assert (signed.interpretation.data_type, unsigned.interpretation.data_type) == (DataType.INT, DataType.UINT16)
    assert difference(signed, unsigned) == "the same up to 32767; negative numbers need INT"


def test_a_small_counter_fits_as_32_bits_first_and_then_in_its_second_register():
    fits = fits_of([0, 1234], 1234)
    assert [as_fit(fit)[:2] for fit in fits] == [
        (0, DataType.LONG),
        (0, DataType.UINT32),
        (1, DataType.INT),
        (1, DataType.UINT16),
    ]
    assert difference(fits[0], fits[2]) == "the same number, begins at another register (+1): wait for a larger one"


def test_two_registers_with_almost_the_same_value_both_fit_and_are_distinguished_by_address():
    words = encode_value(231.4, DataType.FLOAT) + encode_value(231.1, DataType.FLOAT)
    fits = fits_of(words, 231.4)
    aligned = [fit for fit in fits if fit.interpretation.offset in {0, 2}]
    assert [fit.interpretation.offset for fit in aligned] == [0, 2]
    assert "another register (+2)" in difference(*aligned)


def test_a_value_that_no_interpretation_gives_is_not_found():
    assert fits_of(encode_value(231.4, DataType.FLOAT), 400) == []


def test_words_of_zeros_fit_nothing():
    assert fits_of([0, 0, 0, 0], 231.4) == []


@pytest.mark.parametrize(
    ("typed", "within"),
    [
        ("231.4", 2.314),
        ("5", 0.5),
        ("0.5", 0.05),
        ("1.000e3", 10.0),
        ("1e3", 500.0),
        ("-20", 0.5),
        ("1234567", 12345.67),
    ],
)
def test_a_display_is_taken_at_one_percent_or_at_half_of_its_last_digit(typed, within):
    assert tolerance(typed) == pytest.approx(within)


def marked(words):
    return {
        (each.offset, each.data_type.name, each.layout.name): each.plausible
        for each in interpret(words)
        if each.plausible
    }


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda each: each.name)
@pytest.mark.parametrize("data_type", [DataType.FLOAT, DataType.FLOAT64])
def test_of_a_voltage_as_a_float_only_the_right_order_is_plausible(layout, data_type):
    words = encode_value(231.4, data_type, layout.word_order, layout.byte_order)
    whole = {key: said for key, said in marked(words).items() if key[:2] == (0, data_type.name)}
    assert whole == {(0, data_type.name, layout.name): "voltage in V"}


@pytest.mark.parametrize(
    ("word", "said"),
    [(2314, "voltage in 0.1 V"), (231, "voltage in V"), (5001, "frequency in 0.01 Hz"), (499, "voltage in V")],
)
def test_integers_may_be_voltages_and_frequencies_in_parts(word, said):
    assert marked([word]) == {(0, "INT", "ABCD"): said, (0, "UINT16", "ABCD"): said}


def test_of_a_small_long_only_the_order_that_makes_it_small_is_plausible():
    assert {key[2] for key in marked([0, 7000]) if key[1] == "LONG"} == {"ABCD"}
    assert {key[2] for key in marked([7000, 0]) if key[1] == "LONG"} == {"CDAB"}


def test_swapped_bytes_are_plausible_only_if_the_normal_order_is_not():
    assert {key[2] for key in marked(encode_value(2314, DataType.INT, byte_order=Order.LITTLE_ENDIAN))} == {"ABCD"}
    assert {key[2] for key in marked(encode_value(120, DataType.INT, byte_order=Order.LITTLE_ENDIAN))} == {"BADC"}


SMALLEST_NORMAL = 2**-126
DENORMAL = st.floats(-SMALLEST_NORMAL, SMALLEST_NORMAL, exclude_min=True, exclude_max=True, width=32)


@given(DENORMAL | st.sampled_from([math.inf, -math.inf, math.nan]))
def test_no_float_that_is_not_finite_or_is_denormal_is_plausible(value):
    assert (0, "FLOAT", "ABCD") not in marked(encode_value(value, DataType.FLOAT))


@pytest.mark.parametrize("words", [[0xFFFF], [0xFFFF] * 4, [0x8000], [0x8000, 0], [0x7FFF, 0xFFFF]])
def test_patterns_that_mean_no_value_are_reported_as_such(words):
    assert no_value(words) == "often means: no value"


def test_zeros_prove_nothing_and_other_words_get_no_remark():
    assert no_value([0, 0]) == "0 in every type and order: it does not show which is right"
    assert no_value([0x8000, 1]) is None


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=12))
def test_the_table_shows_every_interpretation_once(words):
    rows = list(grid(interpret(words)))
    shown = [(offset, data_type) for offset, types, _ in rows for data_type in types]
    possible = [(i, t) for i in range(len(words)) for t in PLAIN_TYPES if i + t.count <= len(words)]
    assert sorted(shown) == sorted(possible)
