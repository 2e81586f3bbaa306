"""Find the units behind a gateway, with real sockets."""

import asyncio

import pytest
from support.meters import SimulatedUnit
from support.ports import free_port

from emm_pipeline.commissioning.scan_state import Probe, Scan, Watcher
from emm_pipeline.commissioning.scanning import scan, scan_any
from emm_pipeline.config_db.gateway_locks import gateway_locks
from emm_pipeline.fleet import FunctionCode, GatewayAddress, TransportKind
from emm_pipeline.modbus.gateway_locks import Unlocked
from emm_pipeline.modbus.session import Timing
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


def scanned(gateway, units, *, timeout_s=0.3, locks=None):
    state = Scan(units)
    probe = Probe(address_of(gateway), ONE_REGISTER, Timing(timeout_s))
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
    assert ids(state) == [2]
    assert state.silent == [1, 3, 4]
    assert not state.unclear


@pytest.mark.parametrize(
    ("slow", "units"),
    [*((slow, range(1, 248)) for slow in (1, 123, 247)), *((slow, range(1, 9)) for slow in (1, 2, 7, 8))],
)
@pytest.mark.parametrize("kind", [TransportKind.TCP, TransportKind.RTU])
def test_a_slow_unit_is_found_at_any_unit_id_and_the_others_take_no_longer(simulated_gateway, clock, slow, units, kind):
    """It answers after 2.5 s; each unit gets 1.5 s. Unit 5 answers at once. Few units are silent, many are reported."""
    there = {slow: SimulatedUnit(WELL, delay_s=2.5), 5: SimulatedUnit(WELL)}
    absent = None if len(units) < 10 else 11
    gateway = simulated_gateway(there, missing_unit_exception=absent, rtu=kind is TransportKind.RTU)
    state = Scan(units)
    address = GatewayAddress(gateway.host, gateway.port, kind)
    clock.run(scan(Probe(address, ONE_REGISTER, Timing(1.5)), state, Unlocked(), Watcher(lambda: None)))
    assert ids(state) == sorted({slow, 5})
    (late,) = [found.late_s for found in state.found if found.unit_id == slow]
    assert late == pytest.approx(2.5, abs=0.2)
    most_s = 1.5 * len(units) if absent is None else 0
    assert clock.seconds < most_s + 20, "a few seconds more than without the slow unit"


def test_a_slow_unit_is_found_beside_a_dead_one(simulated_gateway):
    """F4: unit 3 is dead, unit 6 answers after 2.5 s."""
    gateway = simulated_gateway({6: SimulatedUnit(WELL, delay_s=2.5)}, missing_unit_exception=None)
    state = scanned(gateway, [3, 6], timeout_s=1.5)
    assert ids(state) == [6]


def test_several_slow_units_are_found(simulated_gateway):
    slow = {unit: SimulatedUnit(WELL, delay_s=2.0 + unit / 10) for unit in (5, 6, 7, 20)}
    gateway = simulated_gateway(slow | {1: SimulatedUnit(WELL)}, missing_unit_exception=None)
    assert ids(scanned(gateway, range(1, 23), timeout_s=1.5)) == [1, 5, 6, 7, 20]


def test_units_after_a_silent_one_are_found_behind_a_gateway_whose_connection_is_dead_then(simulated_gateway):
    """After a request without a reply, the gateway replies only on a new connection."""
    units = {unit: SimulatedUnit(WELL) for unit in (1, 4, 5)}
    gateway = simulated_gateway(units, missing_unit_exception=None)
    dead = set()

    def is_dead(received):
        if received.unit_id not in {1, 4, 5}:
            dead.add(gateway.connections)
        return gateway.connections in dead

    for unit in units.values():
        unit.ignores = is_dead
    gateway.units[2] = gateway.units[3] = SimulatedUnit(ignores=is_dead)
    assert ids(scanned(gateway, range(1, 7), timeout_s=1.0)) == [1, 4, 5]


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
