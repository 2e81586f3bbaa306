"""Identify units by the contents of their registers, over real sockets."""

import pytest
from support.catalogue_devices import SITUATIONS, device
from support.meters import SimulatedUnit, encode_value, holding, inputs

from emm_pipeline.catalog import CatalogueType, Identification, load_catalogue
from emm_pipeline.commissioning.candidates import is_decided
from emm_pipeline.commissioning.identification import MOST_TIMEOUTS
from emm_pipeline.commissioning.ranking import Ranking
from emm_pipeline.commissioning.scan_state import Probe, Scan, Watcher
from emm_pipeline.commissioning.scanning import scan
from emm_pipeline.fleet import DataType, FunctionCode, GatewayAddress, MeterType, Register
from emm_pipeline.modbus.gateway_locks import Unlocked
from emm_pipeline.modbus.session import Timing
from emm_pipeline.readings import Request

CATALOGUE = load_catalogue()
RANKING = Ranking(CATALOGUE.values())
LOAD = SITUATIONS[0]


@pytest.fixture
def simulated_gateway(clock):
    """Silence, pauses and timeouts take no real time."""
    return clock.gateway


def candidates(gateway, ranking=RANKING, timeout_s=0.3):
    state = Scan([1])
    request = Request(FunctionCode.READ_HOLDING_REGISTERS, 0, 1)
    probe = Probe(GatewayAddress(gateway.host, gateway.port), request, Timing(timeout_s), ranking)
    gateway.loop.run(scan(probe, state, Unlocked(), Watcher(lambda: None)))
    (found,) = state.found
    return list(found.candidates or ())


def refusing_gaps(registers):
    """Return a unit that refuses each request that touches a register it does not have."""
    return SimulatedUnit(dict(registers))


def sending_zeros(registers):
    """Return a unit that sends 0 for registers that it does not have."""
    return SimulatedUnit(lambda code, address: registers.get((code, address), 0))


BY_CODE = CatalogueType(
    *("coded", "Coded", "V", "meter", (), ("RS485",), "d", ("a", "b"), ()),
    (
        Identification(
            Register(11, "id", None, DataType.UINT16, FunctionCode.READ_HOLDING_REGISTERS), 648, 648, strong=True
        ),
    ),
    MeterType("coded", (Register(0, "x", None, DataType.INT, FunctionCode.READ_HOLDING_REGISTERS),)),
)


def meter_type(name, measured, max_gap=0):
    """Return a type of floats: measurement and unit by address."""
    registers = tuple(
        Register(address, *series, DataType.FLOAT, FunctionCode.READ_INPUT_REGISTERS)
        for address, series in measured.items()
    )
    return CatalogueType(
        *(name, name, "V", "meter", (), ("RS485",), "d", ("a", "b"), ()),
        (Identification(registers[0], 80, 300, strong=False),),
        MeterType(name, registers, max_gap=max_gap),
    )


SMALL = {0: ("voltageL1", "V"), 2: ("frequency", "Hz"), 4: ("activePower", "W")}
FITTING = SMALL | {6: ("voltageL2", "V")}
LARGE = FITTING | {50: ("voltageL3", "V"), 52: ("currentL1", "A"), 54: ("currentL2", "A"), 56: ("currentL3", "A")}


def floats(*values):
    return [word for value in values for word in encode_value(value, DataType.FLOAT)]


def test_a_code_proves_a_type_also_where_others_are_likely(simulated_gateway):
    words = holding(0, [7]) | holding(11, [648]) | inputs(0, floats(231.4, 50.02, 640.0))
    gateway = simulated_gateway({1: SimulatedUnit(words)})
    (found,) = candidates(gateway, Ranking([meter_type("likely", SMALL), BY_CODE]))
    assert (found.type, found.proven) == ("coded", True)


def test_similar_types_are_distinguished_by_registers_and_the_one_that_explains_most_comes_first(simulated_gateway):
    words = holding(0, [7]) | inputs(0, floats(231.4, 50.02, 640.0, 229.8))
    types = [meter_type("small", SMALL), meter_type("large", LARGE), meter_type("fitting", FITTING)]
    gateway = simulated_gateway({1: SimulatedUnit(words)})
    assert [each.type for each in candidates(gateway, Ranking(types))] == ["fitting", "small", "large"]


def test_a_refused_request_counts_only_the_registers_that_the_unit_refuses(simulated_gateway):
    """F8: a poll of the type sends one request, which the unit refuses, as one of its four registers is missing."""
    words = holding(0, [7]) | inputs(0, floats(231.4, 50.02, 640.0))
    gateway = simulated_gateway({1: SimulatedUnit(words)})
    (found,) = candidates(gateway, Ranking([meter_type("joined", FITTING, max_gap=20)]))
    assert (found.sent, found.registers) == (3, 4)


def test_an_implausible_value_excludes_a_type(simulated_gateway):
    gateway = simulated_gateway({1: SimulatedUnit(holding(0, [7]) | inputs(0, floats(12.0, 50.0, 640.0)))})
    assert candidates(gateway, Ranking([meter_type("likely", SMALL)])) == []


def test_a_unit_that_stops_replying_soon_gets_no_more_requests(simulated_gateway):
    """It answers the first request, but none of those for its identification."""
    unit = SimulatedUnit()

    def last_word(function_code, address):
        unit.silent = True
        return 7

    unit.registers = last_word
    gateway = simulated_gateway({1: unit})
    types = [meter_type(f"t{address}", {address: ("voltageL1", "V")}) for address in range(10, 30, 2)]
    assert candidates(gateway, Ranking(types), timeout_s=0.1) == []
    assert gateway.requests == 1 + MOST_TIMEOUTS


def test_a_unit_without_input_registers_is_asked_for_them_once(simulated_gateway):
    gateway = simulated_gateway({1: SimulatedUnit(exception=1)})
    assert candidates(gateway) == []
    assert gateway.requests == 3, "the scan's request, then one for holding and one for input registers"


@pytest.mark.parametrize("unit_of", [refusing_gaps, sending_zeros])
@pytest.mark.parametrize(
    "name", ["sdm630", "sdm120", "siemens_pac2200", "cg_em24_rs485", "abb_b23_b24", "huawei_sun2000", "sunspec_103"]
)
@pytest.mark.parametrize("swap", [{}, {"swap_words": True}, {"swap_bytes": True}])
def test_a_device_is_identified_in_its_order_whether_it_refuses_gaps_or_not(simulated_gateway, unit_of, name, swap):
    """The registers that are read over a socket lead to the same result as all registers of the device."""
    held = device(CATALOGUE[name], LOAD, **swap)
    held.elsewhere = None if unit_of is refusing_gaps else 0
    gateway = simulated_gateway({1: unit_of(held)})
    read = [(each.type, each.confidence) for each in candidates(gateway)]
    assert read == [(each.type, each.confidence) for each in RANKING.candidates(held)]
    if not swap:
        assert read[0][0] == name


def test_an_sdm630_with_swapped_words_is_no_pac2200(simulated_gateway):
    """F1: the words of its floats are swapped, and registers without a value are 0."""
    gateway = simulated_gateway({1: sending_zeros(device(CATALOGUE["sdm630"], LOAD, swap_words=True))})
    found = candidates(gateway)
    assert found[0].type == "sdm630_swapped_words"
    assert is_decided(found)
    assert not [each for each in found if each.entry.name.startswith("siemens")]


def test_an_sdm120_that_lacks_some_registers_is_no_sdm72(simulated_gateway):
    """F8: an SDM120C has 9 of the 14 registers of the type, and refuses the others."""
    held = device(CATALOGUE["sdm120"], LOAD)
    for address in (36, 76, 78, 344, 24):
        for code, place in list(held):
            if (code, place) in {(4, address), (4, address + 1)}:
                del held[code, place]
    found = candidates(simulated_gateway({1: refusing_gaps(held)}))
    assert found[0].type == "sdm120"
    assert "sdm72dm_v2" not in [each.type for each in found[:3]]
