"""Find the units behind a gateway, with real sockets."""

import asyncio

import pytest
from support.meters import SimulatedUnit, encode_value, holding, inputs
from support.ports import free_port

from emm_pipeline.catalog import CatalogueType, Identification, load_catalogue
from emm_pipeline.commissioning.identification import MOST_TIMEOUTS, Candidate
from emm_pipeline.commissioning.scanning import Probe, Scan, Watcher, scan, scan_any
from emm_pipeline.config_db.gateway_locks import gateway_locks
from emm_pipeline.fleet import DataType, FunctionCode, GatewayAddress, MeterType, Register
from emm_pipeline.modbus.gateway_locks import Unlocked
from emm_pipeline.modbus.planning import plan_requests
from emm_pipeline.modbus.session import Timing
from emm_pipeline.modbus.sunspec.models import has_models
from emm_pipeline.modbus.transport.base import ConnectError
from emm_pipeline.modbus.transport.choosing import other_framings
from emm_pipeline.readings import Request


@pytest.fixture
def simulated_gateway(clock):
    """Silence, pauses and timeouts take no real time."""
    return clock.gateway


ONE_REGISTER = Request(FunctionCode.READ_HOLDING_REGISTERS, 0, 1)
WELL = {(3, 0): 7}


def address_of(gateway):
    return GatewayAddress(gateway.host, gateway.port)


def scanned(gateway, units, *, timeout_s=0.3, types=(), locks=None):
    state = Scan(units)
    probe = Probe(address_of(gateway), ONE_REGISTER, Timing(timeout_s), types)
    gateway.loop.run(scan(probe, state, locks or Unlocked(), Watcher(lambda: None)))
    return state


def scanned_any(gateway, units, watcher=None):
    state = Scan(units)
    probe = Probe(address_of(gateway), ONE_REGISTER, Timing(0.3))
    gateway.loop.run(scan_any(probe, (), state, Unlocked(), watcher or Watcher(lambda: None)))
    return state


def ids(state):
    return [found.unit_id for found in state.found]


@pytest.fixture
def little_patience(monkeypatch):
    monkeypatch.setattr("emm_pipeline.commissioning.scanning.PATIENCE_S", 0.6)


def test_units_that_answer_are_found_and_silent_ones_are_not(simulated_gateway, little_patience):
    gateway = simulated_gateway(
        {1: SimulatedUnit(WELL), 2: SimulatedUnit(silent=True), 3: SimulatedUnit(WELL), 5: SimulatedUnit(silent=True)},
        missing_unit_exception=11,
    )
    assert ids(scanned(gateway, range(1, 7))) == [1, 3]


@pytest.mark.parametrize("absent", [10, 11])
def test_replies_of_a_gateway_for_absent_units_do_not_count_as_units(simulated_gateway, absent):
    gateway = simulated_gateway({4: SimulatedUnit(WELL)}, missing_unit_exception=absent)
    assert ids(scanned(gateway, range(1, 9))) == [4]


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5, 6])
def test_any_other_exception_is_an_answer_of_the_unit(simulated_gateway, code):
    gateway = simulated_gateway({2: SimulatedUnit(exception=code)})
    assert ids(scanned(gateway, range(1, 4))) == [2]


def test_a_late_reply_of_one_unit_is_never_mistaken_for_the_next_ones(simulated_gateway, little_patience):
    """The reply of unit 2 comes while unit 3 is being asked."""
    silent = SimulatedUnit(silent=True)
    gateway = simulated_gateway({1: silent, 2: SimulatedUnit(WELL, delay_s=0.3), 3: silent, 4: silent})
    state = scanned(gateway, [1, 2, 3, 4], timeout_s=0.2)
    assert not state.found
    assert not state.unclear
    assert gateway.connections == 5  # one for each request that was not answered in time


def test_a_gateway_that_waits_longer_for_silent_units_than_we_do_hides_no_unit(simulated_gateway):
    """It answers for each silent unit after 0.5 s, one request at a time."""
    away = SimulatedUnit(exception=11, delay_s=0.5)
    gateway = simulated_gateway({1: away, 2: away, 3: SimulatedUnit(WELL), 4: away}, one_at_a_time=True)
    state = scanned(gateway, [1, 2, 3, 4], timeout_s=0.2)
    assert ids(state) == [3]
    assert state.slow_s


def test_the_long_timeout_is_used_once_and_other_silent_units_take_only_the_timeout(simulated_gateway, little_patience):
    gateway = simulated_gateway({unit: SimulatedUnit(silent=True) for unit in range(1, 6)})
    state = scanned(gateway, range(1, 6), timeout_s=0.1)
    assert not state.found
    assert state.slow_s is None
    assert gateway.requests == 7, "the first one twice, and then patiently"


def test_one_connection_is_enough_while_units_answer(simulated_gateway):
    gateway = simulated_gateway({unit: SimulatedUnit(WELL) for unit in range(1, 21)})
    state = scanned(gateway, range(1, 21))
    assert gateway.connections == 1
    assert gateway.requests == 20
    assert state.all_reply


def test_ten_units_that_all_reply_may_well_be_ten_units(simulated_gateway):
    gateway = simulated_gateway({unit: SimulatedUnit(WELL) for unit in range(1, 11)})
    assert not scanned(gateway, range(1, 11)).all_reply


@pytest.mark.parametrize("garbage", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff" * 64, b""])
def test_an_invalid_reply_is_not_a_unit_and_is_reported(simulated_gateway, garbage):
    gateway = simulated_gateway({1: SimulatedUnit(garbage=garbage or None, reset_after=None if garbage else 0)})
    state = scanned(gateway, [1, 2])
    assert not state.found
    assert list(state.unclear) == [1]


def test_a_reply_with_another_unit_id_finds_neither_unit(simulated_gateway):
    gateway = simulated_gateway({1: SimulatedUnit(WELL, answer_as_unit=2)})
    state = scanned(gateway, [1, 2, 3])
    assert not state.found
    assert "unit id 2 instead of 1" in state.unclear[1]


def test_a_closed_port_is_an_error_with_the_reason(simulated_gateway):
    probe = Probe(GatewayAddress("127.0.0.1", free_port()), ONE_REGISTER, Timing(1.0))
    with pytest.raises(ConnectError, match="connection refused"):
        asyncio.run(scan(probe, Scan([1]), Unlocked(), Watcher(lambda: None)))


def test_units_found_before_the_gateway_became_unreachable_are_kept(simulated_gateway):
    gateway = simulated_gateway({1: SimulatedUnit(WELL), 2: SimulatedUnit(WELL)})
    state = Scan([1, 2, 3, 4])
    probe = Probe(address_of(gateway), ONE_REGISTER, Timing(0.3))

    def stop_after_the_second():
        if state.asked == 2:
            stopping.append(asyncio.ensure_future(gateway.shut()))

    stopping = []
    with pytest.raises(ConnectError):
        gateway.loop.run(scan(probe, state, Unlocked(), Watcher(stop_after_the_second)))
    assert ids(state) == [1, 2]


def test_a_gateway_that_closes_after_each_reply_is_scanned_to_the_end(simulated_gateway):
    gateway = simulated_gateway({unit: SimulatedUnit(WELL) for unit in (1, 3)}, requests_per_connection=1)
    assert ids(scanned(gateway, range(1, 5))) == [1, 3]


def test_a_scan_waits_for_the_poll_that_talks_to_the_gateway(simulated_gateway, config_engine):
    gateway = simulated_gateway({1: SimulatedUnit(WELL)})
    address = f"{gateway.host}:{gateway.port}"
    waited = []

    async def scan_beside_a_poll():
        state = Scan([1])
        probe = Probe(address_of(gateway), ONE_REGISTER, Timing(1.0))
        async with gateway_locks(config_engine) as of_poll, gateway_locks(config_engine) as of_scan:
            assert await of_poll.try_acquire(address)

            def end_poll():
                waited.append(gateway.requests)
                of_poll.release(address)

            await scan(probe, state, of_scan, Watcher(lambda: None, end_poll))
        return state

    assert ids(gateway.loop.run(scan_beside_a_poll())) == [1]
    assert waited == [0]


def test_a_long_scan_lets_polls_have_their_turn(simulated_gateway, monkeypatch):
    monkeypatch.setattr("emm_pipeline.commissioning.scanning.TURN_S", 0.0)
    gateway = simulated_gateway({unit: SimulatedUnit(WELL) for unit in (1, 2, 3)})
    log = []

    class Locks:
        async def try_acquire(self, address):
            log.append((address, "taken", gateway.requests))
            return True

        def release(self, address):
            log.append((address, "given back", gateway.requests))

    state = scanned(gateway, [1, 2, 3], locks=Locks())
    assert ids(state) == [1, 2, 3]
    steps = [(what, requests) for _, what, requests in log]
    assert steps == [(what, n + (what != "taken")) for n in range(3) for what in ("taken", "given back")]


# Identification of a unit's type

BY_CODE = CatalogueType(
    *("coded", "Coded", "V", "meter", (), ("RS485",), "d", ("a", "b"), ()),
    (
        Identification(
            Register(11, "id", None, DataType.UINT16, FunctionCode.READ_HOLDING_REGISTERS), 648, 648, strong=True
        ),
    ),
    MeterType("coded", (Register(0, "x", None, DataType.INT, FunctionCode.READ_HOLDING_REGISTERS),)),
)


def float_type(name, addresses):
    registers = tuple(Register(a, f"m{a}", None, DataType.FLOAT, FunctionCode.READ_INPUT_REGISTERS) for a in addresses)
    likely = Identification(registers[0], 80, 300, strong=False)
    return CatalogueType(
        *(name, name, "V", "meter", (), ("RS485",), "d", ("a", "b"), ()),
        (likely,),
        MeterType(name, registers, max_gap=0),
    )


def candidates(gateway, types):
    (found,) = scanned(gateway, [1], types=types).found
    return list(found.candidates or ())


def test_a_code_proves_a_type_also_where_others_are_likely(simulated_gateway):
    words = holding(0, [7]) | holding(11, [648]) | inputs(0, encode_value(231.4, DataType.FLOAT))
    gateway = simulated_gateway({1: SimulatedUnit(words)})
    assert candidates(gateway, [float_type("likely", [0]), BY_CODE]) == [Candidate("coded", proven=True)]


def test_similar_types_are_distinguished_by_unsupported_registers_and_the_one_with_most_registers_comes_first(
    simulated_gateway,
):
    words = WELL | inputs(0, encode_value(231.4, DataType.FLOAT) + encode_value(229.0, DataType.FLOAT))
    gateway = simulated_gateway({1: SimulatedUnit(words)})
    small, fitting, large = float_type("small", [0]), float_type("fitting", [0, 2]), float_type("large", [0, 2, 50])
    names = [each.type for each in candidates(gateway, [small, large, fitting])]
    assert names == ["fitting", "small", "large"]


def test_an_implausible_value_excludes_a_type(simulated_gateway):
    gateway = simulated_gateway({1: SimulatedUnit(WELL | inputs(0, encode_value(12.0, DataType.FLOAT)))})
    assert candidates(gateway, [float_type("likely", [0])]) == []


def test_a_unit_that_stops_replying_soon_gets_no_more_requests(simulated_gateway):
    """It answers the first request, but none of those for its identification."""
    unit = SimulatedUnit()

    def last_word(function_code, address):
        unit.silent = True
        return 7

    unit.registers = last_word
    gateway = simulated_gateway({1: unit})
    types = [float_type(f"t{address}", [address]) for address in range(10, 30, 2)]
    state = scanned(gateway, [1], timeout_s=0.1, types=types)
    assert ids(state) == [1]
    assert gateway.requests == 1 + MOST_TIMEOUTS


CATALOGUE = load_catalogue()


def read(entry):
    """Return the places of all registers that a poll of the type reads, also those between its own."""
    if has_models(entry.meter_type):
        return set()
    return {
        (int(request.function_code), request.address + i)
        for request in plan_requests(entry.meter_type)
        for i in range(request.count)
    }


def a_device_of(entry):
    """Return the registers of a device that has only those that a poll reads, with the values that identify it."""
    words = dict.fromkeys(read(entry), 0)
    for each in entry.identifications:
        register = each.register
        middle = each.low if each.strong else min(max(231.4, each.low), each.high)
        raw = middle if register.data_type in {DataType.FLOAT, DataType.FLOAT64} else round(middle)
        for i, word in enumerate(encode_value(raw, register.data_type, register.word_order, register.byte_order)):
            words[int(register.function_code), register.register_address + i] = word
    return WELL | words


@pytest.mark.parametrize("name", [name for name, entry in CATALOGUE.items() if entry.identifications])
def test_a_scan_offers_the_type_of_the_device_first_unless_the_device_has_all_registers_of_another_one(
    simulated_gateway, name
):
    gateway = simulated_gateway({1: SimulatedUnit(a_device_of(CATALOGUE[name]))})
    offered = [each.type for each in candidates(gateway, list(CATALOGUE.values()))]
    assert name in offered
    assert name == offered[0] or read(CATALOGUE[offered[0]]) <= read(CATALOGUE[name]), offered


def test_a_scan_reports_invalid_replies_over_rtu_where_nothing_answers_over_modbus_tcp(simulated_gateway):
    """As from a device that sends two registers, whatever number is requested."""
    unit = SimulatedUnit(WELL, extra_registers=1)
    gateway = simulated_gateway({2: unit}, rtu=True, missing_unit_exception=None)
    address = address_of(gateway)
    state, probe = Scan(range(1, 4)), Probe(address, ONE_REGISTER, Timing(0.1))
    found = gateway.loop.run(scan_any(probe, other_framings(address), state, Unlocked(), Watcher(lambda: None)))
    assert found.transport == "rtu"
    assert state.unclear == {2: "the reply has byte count 4 instead of 2"}


def test_a_scan_finds_all_units_behind_a_gateway_that_loses_the_first_request_of_each_connection(
    simulated_gateway, little_patience
):
    """The gateway is silent for absent units, so each is followed by a new connection."""
    units = {unit: SimulatedUnit(WELL) for unit in (3, 4, 7)}
    gateway = simulated_gateway(units, loses_first_request=True, missing_unit_exception=None)
    assert ids(scanned_any(gateway, range(1, 9))) == [3, 4, 7]


def test_a_scan_asks_units_again_once_it_knows_that_the_gateway_lost_requests(simulated_gateway, little_patience):
    """Unit 2 is asked with the first request of a connection, and unit 1 shows later that those are lost."""
    gateway = simulated_gateway({2: SimulatedUnit(WELL), 1: SimulatedUnit(WELL)}, loses_first_request=True)
    gateway.units[9] = SimulatedUnit(silent=True)
    state = scanned_any(gateway, [9, 2, 1])
    assert sorted(ids(state)) == [1, 2]
    assert state.asked == 3


def test_a_scan_without_any_reply_asks_each_unit_again(simulated_gateway, little_patience):
    gateway = simulated_gateway({}, missing_unit_exception=None)
    told = []
    state = scanned_any(gateway, range(1, 6), watcher=Watcher(lambda: None, on_again=lambda: told.append(True)))
    assert (state.found, state.asked, told) == ([], 5, [True])
    # The first unit twice and then patiently, the four others once; then all of them twice.
    assert gateway.requests == 3 + 4 + 2 * 5


def test_a_scan_does_not_ask_again_where_the_gateway_replies_for_absent_units(simulated_gateway):
    gateway = simulated_gateway({})
    assert scanned_any(gateway, range(1, 6)).found == []
    assert gateway.requests == 5


def test_a_scan_tries_rtu_where_nothing_answers_over_modbus_tcp(simulated_gateway):
    gateway = simulated_gateway({unit: SimulatedUnit(WELL) for unit in (2, 3)}, rtu=True, missing_unit_exception=None)
    address, told = GatewayAddress(gateway.host, gateway.port), []
    state = Scan(range(1, 4))
    probe = Probe(address, ONE_REGISTER, Timing(0.1))
    watcher = Watcher(lambda: None, on_other=told.append)

    async def run():
        told.append(await scan_any(probe, other_framings(address), state, Unlocked(), watcher))

    gateway.loop.run(run())
    assert [found.unit_id for found in state.found] == [2, 3]
    assert [each.transport for each in told] == ["rtu", "rtu"]
