"""Rank the types of the catalogue for simulated devices of each type: pure, so that all combinations are cheap."""

import itertools
import math
import random

import pytest
from support.catalogue_devices import SITUATIONS, Device, device, true_values
from support.meters import encode_registers, encode_value

from emm_pipeline.catalog import load_catalogue
from emm_pipeline.commissioning.candidates import Confidence, alike, is_certain, is_decided
from emm_pipeline.commissioning.ranking import Ranking
from emm_pipeline.fleet import DataType

CATALOGUE = load_catalogue()
RANKING = Ranking(CATALOGUE.values())
NAMES = list(CATALOGUE)
ORDERS = list(itertools.product((False, True), repeat=2))
ELSEWHERE = {"gaps refused": None, "gaps sent as 0": 0}
BY_NAME = {situation.name: situation for situation in SITUATIONS}


def situation_of(name, order, elsewhere):
    """Return the situation in which a type is tried here; all types and orders together are tried in all."""
    number = NAMES.index(name) + 3 * ORDERS.index(order) + (elsewhere is None)
    return SITUATIONS[number % len(SITUATIONS)]


def has_right_values(candidate, truth):
    """Whether every value other than zero is that of the device."""
    return all(
        name in truth and math.isclose(value, truth[name], rel_tol=1e-4, abs_tol=1e-6)
        for name, value in candidate.values.items()
        if value
    )


def misled(name, situation, order, elsewhere, ranking=RANKING):
    """Return what is wrong with the types that are offered for a device; None if nothing is."""
    held = device(CATALOGUE[name], situation, swap_words=order[0], swap_bytes=order[1])
    held.elsewhere = elsewhere
    found = ranking.candidates(held)
    truth = true_values(CATALOGUE[name], situation)
    where = f"{name}, {situation.name}, order {order}, elsewhere {elsewhere}"
    named = [(each.type, each.confidence.name, round(each.bits, 1)) for each in found[:4]]
    if len(found) == 1 and not has_right_values(found[0], truth):
        return f"{where}: a wrong type alone: {named}"
    if is_decided(found) and not has_right_values(found[0], truth):
        is_its_own = found[0].entry.name == name and any(has_right_values(each, truth) for each in found[1:])
        return None if is_its_own else f"{where}: a wrong type is offered to be added: {named}"
    return None


@pytest.mark.parametrize("elsewhere", ELSEWHERE.values(), ids=ELSEWHERE)
@pytest.mark.parametrize("order", ORDERS, ids=["as documented", "bytes", "words", "words and bytes"])
def test_no_device_of_the_catalogue_is_offered_as_a_wrong_type(order, elsewhere):
    wrong = [misled(name, situation_of(name, order, elsewhere), order, elsewhere) for name in NAMES]
    assert list(filter(None, wrong)) == []


@pytest.mark.soak
@pytest.mark.parametrize("situation", SITUATIONS, ids=BY_NAME)
def test_no_device_of_the_catalogue_is_offered_as_a_wrong_type_in_any_situation(situation):
    wrong = [misled(*each) for each in itertools.product(NAMES, [situation], ORDERS, ELSEWHERE.values())]
    assert list(filter(None, wrong)) == []


def without(name):
    """Return the ranking without a type, as for a device that is not in the catalogue."""
    ranking = Ranking(())
    ranking.types = [each for each in RANKING.types if each.entry.name != name]
    ranking.of_models = [each for each in RANKING.of_models if each.name != name]
    ranking.probes = RANKING.probes
    return ranking


SAME_MAKER = {"cg_em24_rs485"}
"""Types whose only difference from one of the same maker is a counter."""


@pytest.mark.parametrize("elsewhere", ELSEWHERE.values(), ids=ELSEWHERE)
def test_a_device_that_is_not_in_the_catalogue_is_not_offered_as_another_type(elsewhere):
    """Unless all values that the other type gives are right, as with a smaller model of the same maker."""
    wrong = [
        misled(name, BY_NAME["load"], order, elsewhere, without(name))
        for name in NAMES
        if name not in SAME_MAKER
        for order in ((False, False), (True, False))
    ]
    assert [each for each in wrong if each and "to be added" in each] == []


def shifted(held, distance):
    """Return a device with the same registers at other addresses, and 0 elsewhere."""
    moved = Device({(code, address + distance): word for (code, address), word in held.items()})
    moved.elsewhere = 0
    return moved


FLOAT_TYPES = [
    name
    for name, entry in CATALOGUE.items()
    if sum(register.data_type is DataType.FLOAT for register in entry.registers) > len(entry.registers) / 2
]


@pytest.mark.parametrize("distance", [-2, -1, 1, 2, 4, 100])
def test_a_device_with_the_floats_of_a_type_at_other_addresses_is_not_offered(distance):
    """One register off, floats in the other word order are nearly right: their upper halves are the right ones."""
    offered = {}
    for name in FLOAT_TYPES:
        found = RANKING.candidates(shifted(device(CATALOGUE[name], BY_NAME["load"]), distance))
        truth = true_values(CATALOGUE[name], BY_NAME["load"])
        if is_decided(found) and not has_right_values(found[0], truth) and not found[0].proven:
            offered[name] = found[0].type
    assert offered == {}


@pytest.mark.parametrize("content", ["any word", "small numbers", "floats"])
def test_a_device_with_random_contents_is_not_offered_as_any_type(content):
    numbers = random.Random(19)
    for _ in range(20):
        held = Device()
        held.elsewhere = 0
        for code in (3, 4):
            for address in range(0, 2000, 2):
                words = [numbers.randrange(65536), numbers.randrange(65536)]
                if content == "small numbers":
                    words = [numbers.randrange(5000) * (numbers.random() < 0.4) for _ in range(2)]
                if content == "floats":
                    words = encode_value(10 ** numbers.uniform(-1, 4), DataType.FLOAT)
                held.update({(code, address + place): word for place, word in enumerate(words)})
        found = RANKING.candidates(held)
        assert not found or found[0].confidence is Confidence.POSSIBLE, [(e.type, e.bits, e.odd) for e in found]


def test_a_unit_that_sends_only_zeros_is_of_no_type():
    held = Device()
    held.elsewhere = 0
    assert RANKING.candidates(held) == []


def test_types_of_one_maker_with_the_same_values_are_all_shown_and_the_one_with_most_registers_is_first():
    held = device(CATALOGUE["sdm630"], BY_NAME["load"])
    held.elsewhere = 0
    found = RANKING.candidates(held)
    assert found[0].type == "sdm630"
    assert is_decided(found)
    assert all(not each.differences(found[0]) for each in found)


def test_a_variant_with_other_orders_is_not_offered_beside_the_type_if_the_values_are_the_same():
    held = device(CATALOGUE["orno_we504"], BY_NAME["new"])
    assert [each.type for each in RANKING.candidates(held)] == ["orno_we504"]


IDLE = {"voltageL1": 231.4, "voltageL2": 230.4, "voltageL3": 232.4, "frequency": 50.0}


def test_registers_that_are_0_count_for_a_type_if_the_unit_refuses_others():
    """A new SDM630 without loads, all of whose registers exist, is no SDM72DM, which has fewer."""
    held = Device(encode_registers(CATALOGUE["sdm630"].meter_type, IDLE))
    found = RANKING.candidates(held)
    assert found[0].type == "sdm630"
    assert "sdm72dm_v2" not in [each.type for each in alike(found)]


def test_a_type_of_which_the_unit_refuses_registers_comes_after_one_of_which_it_sends_all():
    """It may be an SDM72DM that sends 0 for registers between its own ones."""
    found = RANKING.candidates(Device(encode_registers(CATALOGUE["sdm72dm_v2"].meter_type, IDLE)))
    assert [each.type for each in (found[0], *alike(found))] == ["sdm72dm_v2", "sdm630"]


def test_a_type_with_registers_that_the_unit_refuses_does_not_fit_as_well():
    found = RANKING.candidates(device(CATALOGUE["sdm72dm_v2"], BY_NAME["load"]))
    assert found[0].type == "sdm72dm_v2"
    assert is_certain(found)


def test_types_that_only_a_label_tells_apart_are_known_as_such():
    held = Device(encode_registers(CATALOGUE["sdm630"].meter_type, IDLE))
    held.elsewhere = 0
    found = RANKING.candidates(held)
    assert [each.type for each in (found[0], *alike(found))] == ["sdm630", "sdm72dm_v2"]
    assert not is_certain(found)
    found = RANKING.candidates(device(CATALOGUE["sdm120"], BY_NAME["load"]))
    assert [each.type for each in alike(found)] == ["sdm220", "sdm230"]
