"""Values of one unit go together, or they contradict each other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.catalogue_devices import SITUATIONS

from emm_pipeline.commissioning.misalignment import FloatEdges
from emm_pipeline.commissioning.relations import relations
from emm_pipeline.fleet import DataType, FunctionCode, Order, Register

NAMES = [
    *(f"{name}{phase}" for name in ("voltage", "current") for phase in ("L1", "L2", "L3")),
    *("voltageL1L2", "voltageL2L3", "voltageL3L1", "frequency"),
    *(f"{name}{phase}" for name in ("activePower", "apparentPower", "powerFactor") for phase in ("", "L1", "L2", "L3")),
]
HOUSE = {name: SITUATIONS[0].value(name) for name in NAMES}


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda each: each.name)
def test_the_values_of_a_real_meter_do_not_contradict_each_other(situation):
    found = relations({name: situation.value(name) for name in NAMES})
    assert found.contradictions == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"currentL1": 981.2, "activePowerL1": 300_000.0}, "although voltage times current is"),
        ({"voltageL2": 110.0}, "voltageL2 110 V beside"),
        ({"frequency": 0.0}, "frequency 0 although there is a voltage"),
        ({"voltageL1L2": 90.0, "voltageL2L3": 90.0, "voltageL3L1": 90.0}, "between phases of"),
        ({"apparentPower": 10.0}, "exceeds apparentPower"),
        ({"activePower": -9000.0, "apparentPower": 9000.0}, "although voltage times current"),
        ({"powerFactorL1": 0.0}, "powerFactorL1 0 although"),
    ],
)
def test_a_value_that_contradicts_others_is_found(changed, said):
    found = relations(HOUSE | changed)
    assert any(said in line for line in found.contradictions), found.contradictions
    assert found.bits < relations(HOUSE).bits + 1


@given(st.dictionaries(st.sampled_from(NAMES), st.floats(allow_nan=False, width=32)))
def test_any_values_can_be_compared(values):
    relations(values)


FLOATS = [
    Register(address, f"m{address}", "V", DataType.FLOAT, FunctionCode.READ_INPUT_REGISTERS, Order.LITTLE_ENDIAN)
    for address in (10, 12, 20)
]


def unit(words):
    return {(4, address): word for address, word in words.items()}


def test_floats_that_are_read_one_register_off_are_recognized():
    """The device has 231.4, 229.8 and 50.02 at 11, 13 and 21, with the upper halves first."""
    words = unit({10: 0, 11: 0x4367, 12: 0x6666, 13: 0x4365, 14: 0xCCCD, 20: 0, 21: 0x4248, 22: 0x147B})
    assert FloatEdges(FLOATS).are_misaligned(words)


@pytest.mark.parametrize(
    "words",
    [
        {10: 0x6666, 11: 0x4367, 12: 0xCCCD, 13: 0x4365, 14: 0, 20: 0x147B, 21: 0x4248, 22: 0},
        {10: 0, 11: 0x4367, 12: 0, 13: 0x4365, 14: 0, 20: 0, 21: 0x4248, 22: 0},
        {10: 0x6666, 11: 0x4367, 12: 0xCCCD, 13: 0x4365, 14: 77, 20: 0x147B, 21: 0x4248, 22: 99},
        {10: 0x6666, 11: 0x4367},
        {},
    ],
    ids=["swapped words", "round values", "other registers beside them", "one value", "nothing"],
)
def test_floats_in_their_places_are_not_called_misaligned(words):
    assert not FloatEdges(FLOATS).are_misaligned(unit(words))
