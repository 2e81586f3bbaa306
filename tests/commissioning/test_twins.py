"""A device that answers to any unit id is identified once, and offered once; similar devices are different ones."""

import pytest
from support.catalogue_devices import SITUATIONS, device
from support.meters import SimulatedUnit

from emm_pipeline.catalog import load_catalogue
from emm_pipeline.commissioning.ranking import Ranking
from emm_pipeline.commissioning.scan_state import Probe, Scan, Watcher
from emm_pipeline.commissioning.scanning import scan
from emm_pipeline.fleet import FunctionCode, GatewayAddress
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


def scanned(gateway, units):
    state = Scan(units)
    request = Request(FunctionCode.READ_HOLDING_REGISTERS, 0, 1)
    probe = Probe(GatewayAddress(gateway.host, gateway.port), request, Timing(0.3), RANKING)
    gateway.loop.run(scan(probe, state, Unlocked(), Watcher(lambda: None)))
    return state


def with_counters(held, factor):
    """Return the registers of a device of the type sdm630 whose counters are others."""
    energies = [each for each in CATALOGUE["sdm630"].registers if "Energy" in each.measurement_name]
    other = device(CATALOGUE["sdm630"], LOAD.__class__("other", counters=factor))
    places = [(4, each.register_address + place) for each in energies for place in (0, 1)]
    return {**held, **{place: other[place] for place in places}}


@pytest.mark.parametrize("name", ["sdm630", "sdm120", "siemens_pac2200", "abb_b23_b24"])
def test_a_device_that_answers_to_any_unit_id_is_identified_once(simulated_gateway, name):
    unit = SimulatedUnit(dict(device(CATALOGUE[name], LOAD)))
    gateway = simulated_gateway(dict.fromkeys(range(256), unit))
    state = scanned(gateway, range(248))
    assert state.found[0].candidates
    assert {each.same_as for each in state.found[1:]} == {0}
    assert gateway.requests < 248 * 4 + 300


def test_a_device_that_is_in_no_catalogue_is_not_compared_at_every_unit_id(simulated_gateway):
    unit = SimulatedUnit(lambda code, address: 0)
    gateway = simulated_gateway(dict.fromkeys(range(256), unit))
    state = scanned(gateway, range(1, 248))
    assert len(state.found) == 247
    assert [each.candidates for each in state.found[:10]] == [()] * 10
    assert {each.candidates for each in state.found[10:]} == {None}
    assert gateway.requests < 2000


def test_meters_of_one_type_with_other_counters_are_different_ones(simulated_gateway):
    held = dict(device(CATALOGUE["sdm630"], LOAD))
    units = {unit: SimulatedUnit(with_counters(held, 1 + unit / 100)) for unit in range(1, 13)}
    state = scanned(simulated_gateway(units), range(1, 13))
    assert {each.same_as for each in state.found} == {None}
    assert {each.candidates[0].type for each in state.found} == {"sdm630"}


def test_new_meters_without_counts_are_different_ones(simulated_gateway):
    held = with_counters(device(CATALOGUE["sdm630"], LOAD), 0.0)
    state = scanned(simulated_gateway({1: SimulatedUnit(held), 2: SimulatedUnit(held)}), [1, 2])
    assert {each.same_as for each in state.found} == {None}


def test_a_counter_that_runs_during_the_scan_is_the_same_one(simulated_gateway):
    held = dict(device(CATALOGUE["sdm630"], LOAD))
    later = with_counters(held, 1.00001)
    state = scanned(simulated_gateway({1: SimulatedUnit(held), 2: SimulatedUnit(later)}), [1, 2])
    assert [each.same_as for each in state.found] == [None, 1]
