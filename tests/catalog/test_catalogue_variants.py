"""Variants of the catalogue's types, for devices that send another order of words or bytes than the type says."""

from dataclasses import replace

import pytest

from emm_pipeline.catalog import load_catalogue
from emm_pipeline.catalog.variants import Swap, swapped
from emm_pipeline.fleet import DataType, Order

CATALOGUE = load_catalogue()
SWAPS = [swap for swap in Swap if swap]


@pytest.mark.parametrize("swap", SWAPS)
@pytest.mark.parametrize("name", CATALOGUE)
def test_a_variant_is_found_by_its_name_and_differs_in_the_orders_only(name, swap):
    entry, variant = CATALOGUE[name], CATALOGUE[f"{name}_{swap}"]
    assert variant.name == variant.meter_type.name == f"{name}_{swap}"
    for register, other in zip(entry.registers, variant.registers, strict=True):
        assert (register.word_order != other.word_order) == swap.words
        assert (register.byte_order != other.byte_order) == swap.bytes
        assert replace(other, word_order=register.word_order, byte_order=register.byte_order) == register
    for each, other in zip(entry.identifications, variant.identifications, strict=True):
        assert (each.low, each.high, each.strong) == (other.low, other.high, other.strong)
        assert (each.register.word_order != other.register.word_order) == swap.words


def test_variants_are_not_listed():
    assert len(CATALOGUE) == len(list(CATALOGUE)) == 110
    assert not [name for name in CATALOGUE if "_swapped_" in name]


@pytest.mark.parametrize(
    "name", ["", "_swapped_words", "sdm63_swapped_words", "sdm630_", "sdm630_swapped_words_swapped_bytes"]
)
def test_other_names_are_not_found(name):
    assert name not in CATALOGUE
    assert CATALOGUE.get(name) is None


def test_a_variant_of_a_variant_in_the_same_orders_has_the_orders_of_the_type():
    entry = CATALOGUE["sdm630"]
    for swap in SWAPS:
        again = swapped(swapped(entry, swap), swap)
        orders = [(each.word_order, each.byte_order) for each in again.registers]
        assert orders == [(each.word_order, each.byte_order) for each in entry.registers]


def test_a_type_with_swapped_words_gets_them_in_the_usual_order():
    assert {each.word_order for each in CATALOGUE["cg_em24_rs485_swapped_words"].registers} == {Order.BIG_ENDIAN}


def test_texts_of_a_variant_have_swapped_bytes_too():
    label = next(each for each in CATALOGUE["sunspec_103_swapped_bytes"].registers if each.data_type is DataType.STRING)
    assert label.byte_order is Order.LITTLE_ENDIAN
