"""Read simulated gateways; each meter reading must report the fault of its device."""

import asyncio
import gc
import logging
import socket
import threading
import time
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, timedelta
from functools import partial
from itertools import count, pairwise

import pytest
from support.meters import SimulatedUnit, encode_value, holding, inputs
from support.virtual_server import eventually

from emm_pipeline.event_loop import run_fast
from emm_pipeline.fleet import DataType, EnergyMeter, FunctionCode, MeterType, Register, TransportKind
from emm_pipeline.modbus.fleet_reading import Conditions, read_meters
from emm_pipeline.modbus.transport import choosing
from emm_pipeline.modbus.transport.mbap import MbapFraming
from emm_pipeline.modbus.transport.tcp import TcpTransport
from emm_pipeline.readings import FailureKind, RegisterBlock, Request

HOLDING, INPUT = FunctionCode.READ_HOLDING_REGISTERS, FunctionCode.READ_INPUT_REGISTERS

PATIENCE_S = 30.0
"""Time limit in seconds that is long enough on a busy machine."""

TIMEOUT_S = 0.5
"""Timeout for devices that do not reply; for others it is used only with a simulated clock."""

ONE_REQUEST = MeterType("one", (Register(0, "voltage", "V", DataType.FLOAT, HOLDING),), timeout_s=PATIENCE_S)
TWO_REQUESTS = MeterType(
    "two", (*ONE_REQUEST.registers, Register(100, "current", "A", DataType.FLOAT, HOLDING)), timeout_s=PATIENCE_S
)
TYPES = {"one": ONE_REQUEST, "two": TWO_REQUESTS}
IMPATIENT = {name: replace(meter_type, timeout_s=TIMEOUT_S) for name, meter_type in TYPES.items()}

VOLTAGE, CURRENT = encode_value(231.4, DataType.FLOAT), encode_value(5.5, DataType.FLOAT)
REGISTERS = holding(0, VOLTAGE) | holding(100, CURRENT)


def block(address, words, function_code=HOLDING):
    return RegisterBlock(
        Request(function_code, address, len(words)), b"".join(word.to_bytes(2, "big") for word in words)
    )


VOLTAGE_BLOCK, CURRENT_BLOCK = block(0, VOLTAGE), block(100, CURRENT)


def unit(**faults):
    return SimulatedUnit(REGISTERS, **faults)


def meters_of(gateway, unit_ids=None, type_name="one"):
    unit_ids = gateway.units if unit_ids is None else unit_ids
    return [EnergyMeter(100 + unit_id, gateway.host, gateway.port, unit_id, type_name) for unit_id in unit_ids]


def read(meters, types=TYPES, seconds=100.0, **options):
    return run_fast(read_meters(meters, types, deadline=time.monotonic() + seconds, **options))


def read_by(clock, meters, types=IMPATIENT, seconds=100.0, **options):
    """Read with a simulated clock, which takes no real time."""
    return clock.run(read_meters(meters, types, deadline=time.monotonic() + seconds, **options))


def closed_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition):
    """Wait for an event in the simulator's thread, such as a closed connection."""
    eventually(condition, within_s=60)


async def happens(condition):
    """Wait for an event of a gateway in the reader's own loop."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - it may be a number of the gateway's
            await asyncio.sleep(0.001)


# --- replies of a working meter


def test_a_meter_gives_its_registers_as_they_are_on_the_wire(simulated_gateway):
    [sample] = read(meters_of(simulated_gateway({1: unit()}), type_name="two"))
    assert sample.failure is None
    assert sample.blocks == (VOLTAGE_BLOCK, CURRENT_BLOCK)
    assert sample.requests == 2
    assert sample.latency_ms > 0


def test_holding_and_input_registers_are_asked_with_their_own_function_code(simulated_gateway):
    gateway = simulated_gateway({1: SimulatedUnit(holding(0, VOLTAGE) | inputs(0, CURRENT))})
    registers = (*ONE_REQUEST.registers, Register(0, "current", "A", DataType.FLOAT, INPUT))
    [sample] = read(meters_of(gateway), {"one": MeterType("one", registers)})
    assert sample.blocks == (VOLTAGE_BLOCK, block(0, CURRENT, INPUT))


def test_a_request_of_125_registers_is_answered_completely(simulated_gateway):
    registers = tuple(Register(a, f"r{a}", None, DataType.UINT16, HOLDING) for a in range(125))
    gateway = simulated_gateway({1: SimulatedUnit(lambda function_code, address: 40_000 + address)})
    [sample] = read(meters_of(gateway), {"one": MeterType("one", registers)})
    assert sample.blocks == (block(0, range(40_000, 40_125)),)
    assert gateway.requests == 1


@pytest.mark.parametrize("unit_id", [0, 1, 247, 255])
def test_every_unit_id_can_be_read(simulated_gateway, unit_id):
    [sample] = read(meters_of(simulated_gateway({unit_id: unit()})))
    assert sample.blocks == (VOLTAGE_BLOCK,)


def test_a_reply_that_comes_in_single_bytes_is_put_together(simulated_gateway):
    [sample] = read(meters_of(simulated_gateway({1: unit(byte_by_byte=True)}), type_name="two"))
    assert sample.failure is None
    assert sample.blocks == (VOLTAGE_BLOCK, CURRENT_BLOCK)


def test_the_sample_is_stamped_when_the_meter_is_asked_and_not_when_it_has_answered(clock, monkeypatch):
    clock.show_in_emm(monkeypatch)
    gateway = clock.gateway({1: unit(delay_s=0.2), 2: unit(delay_s=0.1)})
    began = clock.now(UTC)
    first, second = read_by(clock, meters_of(gateway))
    assert (first.time, second.time) == (began, began + timedelta(seconds=0.2))
    assert all(s.time.tzinfo is UTC for s in (first, second))
    assert (first.latency_ms, second.latency_ms) == pytest.approx((200, 100))


def test_a_stamp_has_whole_milliseconds(clock, monkeypatch):
    clock.show_in_emm(monkeypatch)
    gateway = clock.gateway({1: unit(delay_s=0.0123), 2: unit()})
    first, second = read_by(clock, meters_of(gateway))
    assert second.time - first.time == timedelta(milliseconds=12)


def test_samples_come_in_the_order_of_the_meters_and_are_reported_as_soon_as_each_is_done(clock):
    slow, fast = clock.gateway({1: unit(delay_s=0.1)}), clock.gateway({2: unit(), 1: unit()})
    meters = [*meters_of(slow), *meters_of(fast)]
    told = []
    samples = read_by(clock, meters, on_reading=told.append)
    assert [s.meter for s in samples] == meters
    assert [s.meter for s in told] == [meters[2], meters[1], meters[0]]


def test_reading_no_meters_returns_at_once():
    assert read([]) == []


# --- how gateways are treated


def test_units_behind_one_gateway_share_a_connection_and_are_read_in_turn(simulated_gateway):
    gateway = simulated_gateway({unit_id: unit() for unit_id in (3, 1, 2)})
    assert all(s.failure is None for s in read(meters_of(gateway, type_name="two")))
    assert (gateway.connections, gateway.requests) == (1, 6)
    assert gateway.max_simultaneous_requests == 1
    assert [r.unit_id for r in gateway.received] == [1, 1, 2, 2, 3, 3]


def test_gateways_are_read_concurrently(clock):
    gateways = [clock.gateway({1: unit(delay_s=0.3)}) for _ in range(20)]
    samples = read_by(clock, [meter for gateway in gateways for meter in meters_of(gateway)])
    assert all(s.failure is None for s in samples)
    assert clock.seconds == pytest.approx(0.3, abs=0.01), "in turn it would take 6 s"


def test_no_more_connections_are_open_than_allowed(clock):
    gateways = [clock.gateway({1: unit(delay_s=0.3)}) for _ in range(6)]
    meters = [meter for gateway in gateways for meter in meters_of(gateway)]
    assert all(s.failure is None for s in read_by(clock, meters, conditions=Conditions(max_connections=2)))
    assert clock.seconds == pytest.approx(3 * 0.3, abs=0.01)


def test_the_pause_that_a_type_asks_for_is_kept_between_all_requests_on_a_connection(clock):
    gateway = clock.gateway({1: unit(delay_s=0.2), 2: unit(delay_s=0.2)})
    paused = replace(IMPATIENT["two"], request_pause_s=0.05)
    assert all(s.failure is None for s in read_by(clock, meters_of(gateway, type_name="two"), {"two": paused}))
    times = [request.at for request in gateway.received]
    assert [after - before for before, after in pairwise(times)] == pytest.approx([0.25] * 3), "after the reply"


def test_two_hundred_and_fifty_addresses_are_read_in_one_go_and_no_connection_is_left(simulated_gateway):
    gateways = [simulated_gateway({1: unit()}, host=f"127.0.{i // 100}.{i % 100 + 1}") for i in range(250)]
    meters = [meter for gateway in gateways for meter in meters_of(gateway)]
    samples = read(meters, conditions=Conditions(max_connections=100))
    assert all(s.blocks == (VOLTAGE_BLOCK,) for s in samples)
    assert [gateway.connections for gateway in gateways] == [1] * 250
    wait_until(lambda: not any(gateway.open_connections for gateway in gateways))


# --- no connection


def test_a_refused_connection_fails_every_unit_behind_it_with_the_reason():
    port = closed_port()
    samples = read([EnergyMeter(i, "127.0.0.1", port, i, "one") for i in range(3)])
    for unit_id, sample in enumerate(samples):
        assert sample.failure.kind is FailureKind.REFUSED
        assert sample.failure.reason == f"tcp 127.0.0.1:{port} unit {unit_id}: connection refused"
        assert (sample.blocks, sample.requests, sample.latency_ms) == ((), 0, 0.0)


@pytest.mark.parametrize("host", ["meter.invalid", "a..b", "x" * 70, ""])
def test_a_host_name_that_does_not_resolve_is_reported(host):
    [sample] = read([EnergyMeter(1, host, 502, 1, "one")])
    assert sample.failure.kind is FailureKind.REFUSED
    assert "does not resolve" in sample.failure.reason


def test_hanging_look_ups_delay_neither_other_meters_nor_the_end_of_reading(simulated_gateway, monkeypatch):
    """asyncio's own look-up would share a few threads among all names, and join them when the loop ends."""
    look_up, name_server_answers = socket.getaddrinfo, threading.Event()
    answered = []

    def look_up_or_hang(host, *args, **options):
        if host.endswith(".hangs"):
            answered.append(name_server_answers.wait(60))
        return look_up(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up_or_hang)
    gateway = simulated_gateway({1: unit()})
    meters = [EnergyMeter(i, f"meter{i}.hangs", 502, 1, "one") for i in range(40)]
    types = IMPATIENT | {"patient": replace(ONE_REQUEST, name="patient")}
    *hanging, good = read([*meters, EnergyMeter(99, "localhost", gateway.port, 1, "patient")], types)
    assert answered == [], "reading has ended before any of them"
    name_server_answers.set()
    assert good.blocks == (VOLTAGE_BLOCK,)
    assert {s.failure.reason.split(": ")[1] for s in hanging} == {"no answer from the name server within 0.5 s"}


@contextmanager
def silent_listener(host="127.0.0.1", port=0):
    """A listener with a full queue drops further connections, as a host that is switched off does."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(0)
        for queued in (first, second):
            queued.setblocking(False)
            queued.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def test_a_connection_that_is_not_answered_is_given_up_after_the_types_timeout():
    with silent_listener() as port:
        [sample] = read([EnergyMeter(1, "127.0.0.1", port, 1, "one")], IMPATIENT)
    assert sample.failure.kind is FailureKind.REFUSED
    assert "no answer to connecting within 0.5 s" in sample.failure.reason


@pytest.fixture
def name_server(monkeypatch):
    """Make the name `meter.test` resolve to the given addresses."""
    look_up = socket.getaddrinfo

    def answer_with(*addresses):
        def look_up_or_answer(host, port, *args, **options):
            hosts = addresses if host == "meter.test" else [host]
            return [info for each in hosts for info in look_up(each, port, *args, **options)]

        monkeypatch.setattr(socket, "getaddrinfo", look_up_or_answer)

    return answer_with


def test_a_host_whose_first_address_is_silent_is_read_at_its_second(simulated_gateway, name_server):
    gateway = simulated_gateway({1: unit(), 2: unit()})
    name_server("127.0.0.2", "127.0.0.3", "127.0.0.1")
    with silent_listener("127.0.0.2", gateway.port), silent_listener("127.0.0.3", gateway.port):
        samples = read([replace(meter, host="meter.test") for meter in meters_of(gateway)])
    assert [s.blocks for s in samples] == [(VOLTAGE_BLOCK,)] * 2
    assert gateway.connections == 1


def test_a_host_whose_first_address_refuses_is_read_at_its_second(simulated_gateway, name_server):
    gateway = simulated_gateway({1: unit()})
    name_server("127.0.0.2", "127.0.0.1")
    [sample] = read([EnergyMeter(1, "meter.test", gateway.port, 1, "one")])
    assert sample.blocks == (VOLTAGE_BLOCK,)


@pytest.mark.parametrize(
    ("others", "reason"), [(False, "connection refused"), (True, "no answer to connecting within")]
)
def test_when_no_address_of_a_host_can_be_connected_to_the_reason_names_them(name_server, others, reason):
    name_server("127.0.0.2", "127.0.0.3")
    port = closed_port()
    with silent_listener("127.0.0.3", port) if others else nullcontext():
        [sample] = read([EnergyMeter(1, "meter.test", port, 1, "one")], IMPATIENT)
    assert reason in sample.failure.reason
    assert "(addresses tried: 127.0.0.2, 127.0.0.3)" in sample.failure.reason


# --- a unit that does not answer


def test_a_silent_unit_is_asked_twice_and_times_out_with_the_registers_named(simulated_gateway):
    """Some gateways lose the first request of a connection, and no other unit shows that this one does not."""
    gateway = simulated_gateway({1: unit(silent=True)})
    [sample] = read(meters_of(gateway, type_name="two"), IMPATIENT)
    assert sample.failure.kind is FailureKind.TIMEOUT
    assert sample.failure.reason == (
        f"tcp 127.0.0.1:{gateway.port} unit 1: no reply within 0.5 s to function 3, registers 0-1 (voltage); "
        "0 of 2 requests answered"
    )
    assert gateway.requests == sample.requests == 2


def test_a_dead_unit_among_30_does_not_affect_the_others(clock):
    gateway = clock.gateway({i: unit(silent=i == 7) for i in range(1, 31)}, one_at_a_time=True)
    samples = read_by(clock, meters_of(gateway, type_name="two"))
    assert [s.meter.unit_id for s in samples if s.failure] == [7]
    assert all(s.blocks == (VOLTAGE_BLOCK, CURRENT_BLOCK) for s in samples if not s.failure)
    assert gateway.connections == 2
    assert gateway.requests == 1 + 29 * 2
    assert clock.seconds == pytest.approx(TIMEOUT_S, abs=0.01)


def test_a_late_reply_is_never_mistaken_for_the_next_one(clock):
    """Unit 1 answers after its timeout, with the transaction id of the next request."""
    other = holding(0, encode_value(1.0, DataType.FLOAT))
    gateway = clock.gateway({1: SimulatedUnit(other, delay_s=TIMEOUT_S + 0.1), 2: unit(delay_s=0.2), 3: unit()})
    late, *others = read_by(clock, meters_of(gateway))
    assert late.failure.kind is FailureKind.TIMEOUT
    assert late.blocks == ()
    assert [s.blocks for s in others] == [(VOLTAGE_BLOCK,)] * 2


def test_a_unit_may_take_as_long_as_its_own_type_allows(clock):
    patient = MeterType("patient", ONE_REQUEST.registers, timeout_s=2.0)
    gateway = clock.gateway({1: unit(), 2: unit(delay_s=1.9)})
    meters = [*meters_of(gateway, [1], "one"), *meters_of(gateway, [2], "patient")]
    assert all(s.failure is None for s in read_by(clock, meters, IMPATIENT | {"patient": patient}))


# --- exception replies


def test_an_exception_reply_fails_only_its_own_request(simulated_gateway):
    gateway = simulated_gateway({1: unit(exceptions={0: 1})})
    [sample] = read(meters_of(gateway, type_name="two"))
    assert sample.failure.kind is FailureKind.EXCEPTION
    assert sample.failure.exception_code == 1
    assert sample.failure.reason == (
        f"tcp 127.0.0.1:{gateway.port} unit 1: exception 1 (illegal function) for function 3, "
        "registers 0-1 (voltage); 1 of 2 requests answered"
    )
    assert sample.blocks == (CURRENT_BLOCK,)
    assert gateway.connections == 1
    assert sample.latency_ms > 0


@pytest.mark.parametrize("code", [1, 2, 3, 4, 6, 10, 99])
def test_every_exception_code_is_kept(simulated_gateway, code):
    [sample] = read(meters_of(simulated_gateway({1: unit(exception=code)})))
    assert sample.failure.exception_code == code
    assert f"exception {code} (" in sample.failure.reason
    assert sample.blocks == ()


@pytest.mark.parametrize("code", [5, 6, 11])
def test_a_busy_unit_is_asked_again_after_a_pause_and_behind_its_neighbours(clock, monkeypatch, code):
    clock.show_in_emm(monkeypatch)
    gateway = clock.gateway({1: unit(exception=code), 2: unit(), 3: unit()})

    async def read_until_it_has_time():
        reading = asyncio.create_task(read_meters(meters_of(gateway), TYPES, deadline=time.monotonic() + 20))
        await happens(lambda: gateway.requests == 3)
        gateway.units[1].exception = None
        return await reading

    samples = clock.run(read_until_it_has_time())
    assert [s.blocks for s in samples] == [(VOLTAGE_BLOCK,)] * 3
    assert all(s.failure is None for s in samples)
    assert [r.unit_id for r in gateway.received] == [1, 2, 3, 1]
    assert gateway.received[3].at - gateway.received[0].at == pytest.approx(0.5)
    assert gateway.connections == 1
    assert samples[0].time - samples[1].time == timedelta(seconds=0.5), "stamped when it was read, not when it was busy"


@pytest.mark.parametrize("code", [5, 6, 11])
def test_a_unit_that_stays_busy_is_asked_three_times_and_gives_no_value_never_0(clock, code):
    gateway = clock.gateway({1: unit(exception=code), 2: unit()})
    busy, good = read_by(clock, meters_of(gateway))
    assert (busy.failure.kind, busy.failure.exception_code) == (FailureKind.EXCEPTION, code)
    assert (busy.requests, busy.blocks) == (3, ())
    assert good.failure is None
    times = [r.at for r in gateway.received if r.unit_id == 1]
    assert [after - before for before, after in pairwise(times)] == pytest.approx([0.5, 0.5])


def test_a_busy_unit_says_so_when_the_deadline_comes_before_its_next_turn(clock):
    [sample] = read_by(clock, meters_of(clock.gateway({1: unit(exception=6)})), seconds=0.3)
    assert "exception 6 (device busy)" in sample.failure.reason


def test_a_unit_that_keeps_failing_is_asked_once_only(simulated_gateway):
    gateway = simulated_gateway({1: unit(exception=6)})
    [sample] = read(meters_of(gateway), conditions=Conditions(failing={101}))
    assert (sample.requests, sample.failure.exception_code) == (1, 6)


def test_a_unit_whose_gateway_reports_it_silent_gets_no_further_requests(simulated_gateway):
    """Each further request would delay the other units by the gateway's own timeout."""
    gateway = simulated_gateway({2: unit()})
    silent, good = read(meters_of(gateway, [1, 2], "two"))
    assert (silent.failure.kind, silent.failure.exception_code) == (FailureKind.EXCEPTION, 11)
    assert {r.address for r in gateway.received if r.unit_id == 1} == {0}
    assert good.failure is None
    assert gateway.connections == 1


def test_a_reason_names_three_measurements_at_most_and_has_no_line_breaks(simulated_gateway):
    registers = tuple(Register(a, f"power\nL{a}", "W", DataType.INT, HOLDING) for a in range(5))
    gateway = simulated_gateway({1: unit(exception=2)})
    [sample] = read(meters_of(gateway), {"one": MeterType("one", registers)})
    assert "registers 0-4 (power L0, power L1, power L2 and 2 more)" in sample.failure.reason
    assert "\n" not in sample.failure.reason


# --- invalid replies

INVALID = {
    "a foreign transaction id": ({"transaction_id_offset": 5}, "transaction id 7 instead of 2"),
    "a foreign unit": ({"answer_as_unit": 9}, "unit id 9 instead of 1"),
    "unit 0": ({"answer_as_unit": 0}, "unit id 0 instead of 1"),
    "a foreign function code": ({"answer_as_function": 4}, "function code 4 instead of 3"),
    "an unknown function code": ({"answer_as_function": 0x55}, "function code 85 instead of 3"),
    "an exception to another function": ({"answer_as_function": 4, "exception": 2}, "function code 4 instead of 3"),
    "too few registers": ({"extra_registers": -1}, "length 5 instead of 7"),
    "too many registers": ({"extra_registers": 1}, "length 9 instead of 7"),
    "no registers": ({"extra_registers": -2}, "length 3 instead of 7"),
    "another protocol": ({"protocol_id": 1}, "protocol id 1 instead of 0"),
    "text": ({"garbage": b"HTTP/1.1 400 Bad Request\r\n\r\n"}, "a web server replied"),
    "zeros": ({"garbage": bytes(300)}, "transaction id 0 instead of 1"),
    "a byte count of its own": ({"garbage": bytes.fromhex("0001 0000 0007 01 03 02 00010002")}, "byte count 2 instead"),
    "a reset in mid-reply": ({"reset_after": 5}, "closed before the reply was complete"),
}


@pytest.fixture
def transaction_ids_from_1(monkeypatch):
    """Transaction ids start at 1 on each connection, because the replies are fixed bytes."""
    first = {TransportKind.TCP: lambda gateway: TcpTransport(gateway, MbapFraming(count(1)))}
    monkeypatch.setattr(choosing, "TRANSPORTS", first)


@pytest.mark.usefixtures("transaction_ids_from_1")
@pytest.mark.parametrize(("fault", "reason"), INVALID.values(), ids=INVALID)
def test_a_wrong_reply_is_reported_at_once_never_used_and_affects_only_its_unit(simulated_gateway, fault, reason):
    gateway = simulated_gateway({1: unit(**fault), 2: unit()})
    bad, good = read(meters_of(gateway, type_name="two"))
    assert bad.failure.kind is FailureKind.INVALID_REPLY
    assert reason in bad.failure.reason
    assert "asked for function 3, registers 0-1 (voltage)" in bad.failure.reason
    assert bad.blocks == ()
    assert bad.requests == (2 if "transaction_id_offset" in fault else 1), (
        "sent again, to see whether the id is constant"
    )
    assert good.failure is None
    assert good.blocks == (VOLTAGE_BLOCK, CURRENT_BLOCK)
    assert gateway.connections == bad.requests + 1


@pytest.mark.parametrize(
    "fault", [*INVALID.values(), ({"reset_after": 0}, ""), ({"silent": True}, "")], ids=[*INVALID, "reset", "silence"]
)
def test_nothing_is_logged_and_no_task_is_left_whatever_reply_comes(simulated_gateway, fault, caplog, capfd, recwarn):
    caplog.set_level(logging.WARNING)
    gateway = simulated_gateway({1: unit(**fault[0]), 2: unit()})

    async def read_in_debug_mode():
        asyncio.get_running_loop().slow_callback_duration = 60  # a busy machine must not fail a test
        await read_meters(meters_of(gateway), IMPATIENT, deadline=time.monotonic() + 20)

    asyncio.run(read_in_debug_mode(), debug=True)
    gc.collect()
    assert caplog.messages == []
    assert capfd.readouterr() == ("", "")
    assert [str(w.message) for w in recwarn] == []
    wait_until(lambda: gateway.open_connections == 0)


# --- connections that do not last


MANY_REQUESTS = MeterType(
    "many",
    tuple(Register(50 * i, f"voltage{i}", "V", DataType.FLOAT, HOLDING) for i in range(20)),
    timeout_s=30.0,
)


@pytest.mark.parametrize("pause_s", [0.0, 0.05])
@pytest.mark.parametrize(
    "closing",
    [{"requests_per_connection": 1}, {"requests_per_connection": 3}, {"idle_s": 0.01}],
    ids=["after each reply", "after some replies", "when idle"],
)
def test_a_meter_behind_a_gateway_that_closes_connections_is_read_completely(simulated_gateway, closing, pause_s):
    """The next request may be sent just when the gateway closes the connection: it is sent again."""
    gateway = simulated_gateway({1: SimulatedUnit(lambda _, address: address), 2: unit()}, **closing)
    check_that_all_is_read(gateway, pause_s, read)


def test_a_gateway_that_closes_when_idle_and_resets_every_second_connection_is_read_completely(clock):
    """With a simulated clock, since a request can fail if it is sent when a connection closes and the next is reset."""
    units = {1: SimulatedUnit(lambda _, address: address), 2: unit()}
    gateway = clock.gateway(units, idle_s=0.2, resets_every=2)
    check_that_all_is_read(gateway, 1.0, partial(read_by, clock))
    assert gateway.connections > len(MANY_REQUESTS.registers)


def check_that_all_is_read(gateway, pause_s, read):
    paused = replace(MANY_REQUESTS, request_pause_s=pause_s)
    meters = [*meters_of(gateway, [1], "many"), *meters_of(gateway, [2], "two")]
    closed, other = read(meters, TYPES | {"many": paused})
    assert closed.failure is None
    assert closed.blocks == tuple(block(50 * i, [50 * i, 50 * i + 1]) for i in range(20))
    assert closed.requests >= 20, "those that were sent again count"
    assert other.blocks == (VOLTAGE_BLOCK, CURRENT_BLOCK)


def test_a_request_that_makes_the_gateway_close_is_sent_again_once(simulated_gateway):
    gateway = simulated_gateway({1: unit(reset_after=0), 2: unit()})
    bad, good = read(meters_of(gateway, type_name="two"))
    assert bad.failure.kind is FailureKind.CLOSED
    assert bad.failure.reason == (
        f"tcp 127.0.0.1:{gateway.port} unit 1: the connection was closed without a reply, asked for function 3, "
        "registers 0-1 (voltage); 0 of 2 requests answered"
    )
    assert bad.requests == 2
    assert good.blocks == (VOLTAGE_BLOCK, CURRENT_BLOCK)
    assert [r.unit_id for r in gateway.received] == [1, 1, 2, 2]
    assert gateway.connections == 3


def test_a_request_whose_reply_breaks_off_is_not_sent_again(simulated_gateway):
    gateway = simulated_gateway({1: unit(reset_after=5), 2: unit()})
    bad, good = read(meters_of(gateway))
    assert (bad.failure.kind, bad.requests) == (FailureKind.INVALID_REPLY, 1)
    assert good.failure is None


def test_a_gateway_that_closes_accepted_connections_is_distinguished_from_a_refused_connection(simulated_gateway):
    """A gateway without a free connection does this."""
    gateway = simulated_gateway({1: unit(), 2: unit()}, requests_per_connection=0)
    samples = read(meters_of(gateway))
    assert [s.failure.kind for s in samples] == [FailureKind.CLOSED] * 2
    assert all("the connection was closed without a reply" in s.failure.reason for s in samples)


def test_a_gateway_that_came_back_is_read_again(simulated_gateway):
    gateway = simulated_gateway({1: unit()})
    meters = meters_of(gateway)
    assert read(meters)[0].failure is None
    gateway.stop()
    assert read(meters)[0].failure.kind is FailureKind.REFUSED
    gateway.start()
    assert read(meters)[0].failure is None


def test_when_the_connection_cannot_be_reopened_the_other_units_fail_after_one_more_attempt(clock):
    gateway = clock.gateway({1: unit(), 2: unit(silent=True), 3: unit(), 4: unit()})

    async def read_while_the_gateway_goes_down():
        reading = asyncio.create_task(read_meters(meters_of(gateway), TYPES, deadline=time.monotonic() + 20))
        await happens(lambda: gateway.requests == 2)
        await gateway.shut()
        down = clock.seconds
        return await reading, clock.seconds - down

    (first, *others), took = clock.run(read_while_the_gateway_goes_down())
    assert took == pytest.approx(0.5, abs=0.01)
    assert first.failure is None
    assert [s.failure.kind for s in others] == [FailureKind.REFUSED] * 3
    assert [s.failure.reason.split(": ")[1] for s in others] == ["connection refused"] * 3


def test_all_units_are_read_if_a_gateway_is_back_within_half_a_second(clock):
    gateway = clock.gateway({1: unit(silent=True), 2: unit()})

    async def read_while_the_gateway_restarts():
        reading = asyncio.create_task(read_meters(meters_of(gateway), TYPES, deadline=time.monotonic() + 20))
        await happens(lambda: gateway.requests == 1)
        await gateway.shut()
        gateway.units[1].silent = False
        await asyncio.sleep(0.4)
        await gateway.listen()
        return await reading

    samples = clock.run(read_while_the_gateway_restarts())
    assert [s.blocks for s in samples] == [(VOLTAGE_BLOCK,)] * 2
    assert [r.unit_id for r in gateway.received] == [1, 1, 2]


# --- the deadline


def test_at_the_deadline_what_was_read_stays_and_the_rest_says_why_not(clock):
    gateway = clock.gateway({1: unit(), 2: unit(exceptions={100: 1}), 3: unit(delay_s=0.35), 4: unit()})
    samples = read_by(clock, meters_of(gateway, type_name="two"), TYPES, seconds=0.6)
    assert clock.seconds == pytest.approx(0.6)
    where = f"tcp 127.0.0.1:{gateway.port} unit"
    assert samples[0].failure is None
    assert samples[1].failure.kind is FailureKind.EXCEPTION
    assert [s.failure.kind for s in samples[2:]] == [FailureKind.DEADLINE] * 2
    assert samples[2].blocks == (VOLTAGE_BLOCK,)
    assert samples[2].failure.reason == (
        f"{where} 3: not read completely by the deadline (2 of 4 units behind it were read); 1 of 2 requests answered"
    )
    assert samples[3].failure.reason == (
        f"{where} 4: not reached before the deadline (2 of 4 units behind it were read)"
    )
    clock.run(happens(lambda: gateway.open_connections == 0))


def test_a_deadline_in_the_past_reads_nothing_and_says_so(simulated_gateway):
    gateway = simulated_gateway({1: unit()})
    told = []
    [sample] = read(meters_of(gateway), seconds=-1, on_reading=told.append)
    assert sample.failure.kind is FailureKind.DEADLINE
    assert sample.requests == 0
    assert told == [sample]


def test_a_gateway_that_was_not_read_because_of_the_connection_limit_reports_it(clock):
    gateways = [clock.gateway({1: unit(delay_s=5)}) for _ in range(2)]
    samples = read_by(
        clock,
        [m for g in gateways for m in meters_of(g)],
        TYPES,
        seconds=0.2,
        conditions=Conditions(max_connections=1),
    )
    assert [s.failure.kind for s in samples] == [FailureKind.DEADLINE] * 2
    assert "all allowed connections were in use" in samples[1].failure.reason


def test_a_cancelled_reading_leaves_no_connection_and_no_task(simulated_gateway):
    gateway = simulated_gateway({1: unit(silent=True)})

    async def cancel_in_mid_request():
        reading = asyncio.create_task(read_meters(meters_of(gateway), TYPES, deadline=time.monotonic() + 30))
        await asyncio.to_thread(wait_until, lambda: gateway.requests == 1)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert run_fast(cancel_in_mid_request()) == set()
    wait_until(lambda: gateway.open_connections == 0)


# --- types that cannot be planned


@pytest.mark.parametrize(
    ("types", "reason"),
    [
        ({}, "type two is not configured"),
        ({"two": MeterType("two")}, "type two has no registers"),
        (
            {"two": MeterType("two", TWO_REQUESTS.registers, max_registers_per_request=1)},
            "type two: voltage takes 2 registers, but max_registers_per_request is 1",
        ),
    ],
)
def test_a_type_that_cannot_be_planned_fails_only_its_own_meters(simulated_gateway, types, reason):
    gateway = simulated_gateway({1: unit(), 2: unit()})
    meters = [*meters_of(gateway, [1], "two"), *meters_of(gateway, [2], "one")]
    broken, good = read(meters, {"one": ONE_REQUEST} | types)
    assert broken.failure.kind is FailureKind.CONFIGURATION
    assert reason in broken.failure.reason
    assert good.failure is None
    assert gateway.requests == 1
