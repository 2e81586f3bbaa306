"""The gateways that a run keeps open and locked between its readings, with a real PostgreSQL and real sockets."""

import asyncio
import threading
import time

import pytest
from support.meters import SimulatedUnit
from support.postgres import administrate
from support.virtual_server import eventually

from emm_pipeline.config_db.gateway_locks import PostgresGatewayLocks, gateway_locks
from emm_pipeline.fleet import DataType, EnergyMeter, FunctionCode, MeterType, Register
from emm_pipeline.modbus.fleet_reading import Conditions, read_meters
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


def read(gateways, engine, simulated, next_in_s=10.0):
    meters = [EnergyMeter(number, each.host, each.port, 1, "t") for number, each in enumerate(simulated)]

    def start(locks, sessions):
        conditions = Conditions(locks=locks, kept=sessions)
        return read_meters(meters, {"t": TYPE}, deadline=time.monotonic() + 100, conditions=conditions)

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
    assert is_free(config_engine, two[0])


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
