"""The gateways that a run keeps open and locked between its readings, with a real PostgreSQL and real sockets."""

import asyncio
import errno
import os
import signal
import threading
import time
from dataclasses import replace

import pytest
from support.meters import SimulatedUnit
from support.postgres import administrate
from support.virtual_server import eventually

from emm_pipeline.config_db import gateway_locks as locks_module
from emm_pipeline.config_db import gateway_wishes
from emm_pipeline.config_db.gateway_locks import PostgresGatewayLocks, gateway_locks
from emm_pipeline.fleet import DataType, EnergyMeter, FunctionCode, MeterType, Register
from emm_pipeline.modbus.fleet_reading import Conditions, read_meters
from emm_pipeline.modbus.transport.pacing import allowed_connections
from emm_pipeline.polling import open_gateways
from emm_pipeline.polling.open_gateways import OpenGateways, close_gateways, gateways_of

TYPE = MeterType("t", (Register(0, "m", None, DataType.UINT16, FunctionCode.READ_HOLDING_REGISTERS),), timeout_s=30.0)


@pytest.fixture
def two(simulated_gateway):
    return [simulated_gateway({1: SimulatedUnit(lambda _, __: 7)}) for _ in range(2)]


@pytest.fixture
def kept():
    gateways = OpenGateways()
    yield gateways
    gateways.close()


def read(gateways, engine, simulated, next_in_s=10.0, meter_type=TYPE):
    meters = [EnergyMeter(number, each.host, each.port, 1, "t") for number, each in enumerate(simulated)]

    def start(locks, sessions):
        conditions = Conditions(locks=locks, kept=sessions)
        return read_meters(meters, {"t": meter_type}, deadline=time.monotonic() + 100, conditions=conditions)

    readings = gateways.run(start, engine, next_in_s)
    assert not any(reading.failure for reading in readings), readings


def name(simulated):
    return f"{simulated.host}:{simulated.port}"


async def try_once(engine, simulated):
    async with gateway_locks(engine) as locks:
        return await locks.try_acquire(name(simulated))


async def wait_for_lock(engine, simulated):
    """Want a gateway as another run does, and return once it is locked; it is released again."""
    async with gateway_locks(engine) as locks:
        while not await locks.try_acquire(name(simulated)):  # noqa: ASYNC110 - as the reader does
            await asyncio.sleep(0.05)


def is_free(engine, simulated):
    return asyncio.run(try_once(engine, simulated))


def test_a_kept_gateway_is_locked_until_another_process_wants_it_which_gets_it_at_once(config_engine, two, kept):
    read(kept, config_engine, two)
    assert [each.open_connections for each in two] == [1, 1]
    asyncio.run(asyncio.wait_for(wait_for_lock(config_engine, two[0]), 20))
    eventually(lambda: [each.open_connections for each in two] == [0, 1])
    assert is_free(config_engine, two[0])
    read(kept, config_engine, two)
    assert [each.connections for each in two] == [2, 1], "the other connection is still the first one"


def test_the_gateways_of_a_run_whose_next_reading_does_not_come_are_closed_and_unlocked(
    config_engine, two, kept, monkeypatch
):
    monkeypatch.setattr(open_gateways, "LATE_S", 0.1)
    read(kept, config_engine, two, next_in_s=0.1)
    eventually(lambda: [each.open_connections for each in two] == [0, 0])
    eventually(lambda: is_free(config_engine, two[1]))
    read(kept, config_engine, two)


def test_after_a_restart_of_postgresql_nothing_is_kept_that_is_not_locked(postgres, config_engine, two, kept):
    read(kept, config_engine, two)
    administrate(
        postgres, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'emm gateway locks'"
    )
    eventually(lambda: [each.open_connections for each in two] == [0, 0])
    read(kept, config_engine, two)
    assert [each.open_connections for each in two] == [1, 1]
    asyncio.run(asyncio.wait_for(wait_for_lock(config_engine, two[0]), 20))


def test_a_database_that_hangs_between_two_readings_does_not_delay_the_next_one(config_engine, two, kept, monkeypatch):
    answers = threading.Event()
    monkeypatch.setattr(PostgresGatewayLocks, "wait_until_wanted", lambda *_: answers.wait(60) and None)
    read(kept, config_engine, two)
    monkeypatch.setattr(open_gateways, "STOPS_WITHIN_S", 0.1)
    read(kept, config_engine, two, next_in_s=None)
    eventually(lambda: [each.open_connections for each in two] == [0, 0])
    answers.set()
    eventually(lambda: is_free(config_engine, two[0]))
    read(kept, config_engine, two, next_in_s=None)


def test_without_a_database_nothing_is_kept(config_engine, two, kept):
    read(kept, config_engine, two)
    read(kept, None, two)
    eventually(lambda: [each.open_connections for each in two] == [0, 0])


def test_the_last_reading_of_a_run_keeps_nothing(config_engine, two, kept):
    read(kept, config_engine, two)
    read(kept, config_engine, two, next_in_s=None)
    eventually(lambda: [each.open_connections for each in two] == [0, 0])
    eventually(lambda: is_free(config_engine, two[0]))


def test_a_reading_that_fails_leaves_nothing_open(config_engine, two, kept):
    read(kept, config_engine, two)

    async def fail(locks, sessions):
        raise RuntimeError("an error in the program")

    with pytest.raises(RuntimeError):
        kept.run(fail, config_engine, 10.0)
    eventually(lambda: [each.open_connections for each in two] == [0, 0])
    eventually(lambda: is_free(config_engine, two[0]))


def test_another_run_of_the_same_process_closes_the_gateways_of_the_one_before(config_engine, two):
    read(gateways_of("one"), config_engine, two)
    assert not is_free(config_engine, two[0])
    read(gateways_of("two"), config_engine, two, next_in_s=None)
    eventually(lambda: [each.open_connections for each in two] == [0, 0])
    close_gateways("two")
    close_gateways("two")


@pytest.fixture
def many_descriptors():
    """So many open files that the next ones have numbers from 1024 on, as with a thousand connections."""
    allowed_connections(1200)
    opened = [os.dup(0)]
    while opened[-1] < 1100:
        opened.append(os.dup(0))
    yield
    for each in opened:
        os.close(each)


@pytest.mark.usefixtures("many_descriptors")
def test_a_run_with_more_than_1024_open_files_gives_its_gateways_up_too(config_engine, two, kept, caplog):
    read(kept, config_engine, two)
    asyncio.run(asyncio.wait_for(wait_for_lock(config_engine, two[0]), 20))
    eventually(lambda: [each.open_connections for each in two] == [0, 1])
    read(kept, config_engine, two)
    assert [each.connections for each in two] == [2, 1]
    assert not caplog.messages


def test_a_process_that_wants_a_gateway_during_a_reading_gets_it_when_the_reading_has_ended(
    config_engine, two, kept, monkeypatch
):
    monkeypatch.setattr(gateway_wishes, "REPEATED_AFTER_S", 1000.0)
    monkeypatch.setattr(open_gateways, "LATE_S", 1000.0)
    meter = EnergyMeter(1, two[0].host, two[0].port, 1, "t")

    async def read_while_it_is_wanted(locks, sessions):
        conditions = Conditions(locks=locks, kept=sessions)
        readings = await read_meters([meter], {"t": TYPE}, deadline=time.monotonic() + 100, conditions=conditions)
        assert not await try_once(config_engine, two[0])
        return readings

    for number in range(1, 3):
        [reading] = kept.run(read_while_it_is_wanted, config_engine, 10.0)
        assert reading.blocks
        eventually(lambda: two[0].open_connections == 0)
        eventually(lambda: is_free(config_engine, two[0]))
        assert two[0].connections == number


def test_a_gateway_that_was_given_up_is_left_to_the_process_that_wants_it_for_a_moment(
    config_engine, two, kept, monkeypatch
):
    monkeypatch.setattr(locks_module, "OTHERS_FIRST_S", 1000.0)
    read(kept, config_engine, two)
    assert not is_free(config_engine, two[0])
    eventually(lambda: two[0].open_connections == 0)

    async def lock(locks, _sessions):
        return [await locks.try_acquire(name(each)) for each in two]

    assert kept.run(lock, config_engine, 10.0) == [False, False], "one is left to others, the other one is ours"
    monkeypatch.setattr(locks_module, "OTHERS_FIRST_S", 0.0)
    assert kept.run(lock, config_engine, 10.0) == [True, False]


def test_without_a_database_no_connection_is_kept_even_if_the_type_asks_for_it(config_engine, two, kept):
    keeping = replace(TYPE, keep_connection=True)
    read(kept, config_engine, two, meter_type=keeping)
    for _ in range(2):
        read(kept, None, two, meter_type=keeping)
        eventually(lambda: [each.open_connections for each in two] == [0, 0])
    assert [each.max_open_connections for each in two] == [1, 1]


def test_if_the_wait_between_two_readings_fails_the_gateways_are_closed_and_the_next_reading_locks_them(
    config_engine, two, kept, monkeypatch, caplog
):
    def fail(*_):
        raise ValueError("an error in the program")

    with monkeypatch.context() as patch:
        patch.setattr(PostgresGatewayLocks, "wait_until_wanted", fail)
        read(kept, config_engine, two)
        eventually(lambda: [each.open_connections for each in two] == [0, 0])
        eventually(lambda: is_free(config_engine, two[0]))
    caplog.clear()
    read(kept, config_engine, two)
    assert not is_free(config_engine, two[0])
    assert not caplog.messages


def test_a_reading_is_not_lost_if_no_descriptor_is_left_to_wait_for_the_next_one(config_engine, two, kept, monkeypatch):
    def fail(*_):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(open_gateways.socket, "socketpair", fail)
        kept._loop.run(asyncio.sleep(0))  # the loop needs a pair of sockets itself
        read(kept, config_engine, two)
    eventually(lambda: [each.open_connections for each in two] == [0, 0])
    eventually(lambda: is_free(config_engine, two[0]))
    read(kept, config_engine, two)


def cannot_begin(*_):
    raise AssertionError("a reading begins")


def test_a_run_that_is_interrupted_just_before_a_reading_leaves_nothing_open(config_engine, two, kept, monkeypatch):
    stop, calls = open_gateways._Watch.stop, []

    def interrupt(watch):
        calls.append(watch)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return stop(watch)

    monkeypatch.setattr(open_gateways, "LATE_S", 1000.0)
    read(kept, config_engine, two)
    with monkeypatch.context() as patch:
        patch.setattr(open_gateways._Watch, "stop", interrupt)
        with pytest.raises(KeyboardInterrupt):
            kept.run(cannot_begin, config_engine, 10.0)
    eventually(lambda: [each.open_connections for each in two] == [0, 0])
    eventually(lambda: is_free(config_engine, two[0]))


def test_a_session_that_hangs_before_a_reading_does_not_keep_the_gateways_locked_afterwards(
    postgres, config_engine, two, kept, monkeypatch
):
    read(kept, config_engine, two)
    server = kept._locks._session._connection.connection.dbapi_connection.info.backend_pid
    monkeypatch.setattr(locks_module, "ANSWER_TIMEOUT_S", 0.3)
    os.kill(server, signal.SIGSTOP)
    try:
        read(kept, config_engine, two)
    finally:
        os.kill(server, signal.SIGCONT)
    monkeypatch.undo()
    eventually(lambda: is_free(config_engine, two[0]))
    read(kept, config_engine, two)
    assert not is_free(config_engine, two[0])
