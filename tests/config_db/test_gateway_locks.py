"""Locks per gateway, with a real PostgreSQL server."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import event
from support.dagster_ui import wait_for
from support.ports import free_port
from support.postgres import administrate, postgres_folder

from emm_pipeline.config_db.engine import create_config_engine
from emm_pipeline.config_db.gateway_locks import GATHER_S, gateway_locks
from emm_pipeline.config_db.lock_session import lock_key
from emm_pipeline.embedded_postgres import EmbeddedPostgres

ADDRESS = "10.0.0.1:502"


def locks_held(engine):
    with engine.connect() as connection:
        count = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = "
        return connection.exec_driver_sql(
            count + "(SELECT oid FROM pg_database WHERE datname = current_database())"
        ).scalar()


def test_a_gateway_that_one_run_has_locked_is_not_available_to_another_until_it_is_released(config_engine):
    async def two_runs():
        async with gateway_locks(config_engine) as one, gateway_locks(config_engine) as other:
            assert await one.try_acquire(ADDRESS)
            assert not await other.try_acquire(ADDRESS)
            assert await other.try_acquire("10.0.0.1:503"), "another port is another gateway"
            one.release(ADDRESS)
            while not await other.try_acquire(ADDRESS):  # noqa: ASYNC110 - as the reader does
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(two_runs(), 60))
    wait_for("the server to free the locks of the closed connections", lambda: locks_held(config_engine) == 0)


def test_a_thousand_gateways_are_locked_in_a_few_statements(config_engine):
    statements = []
    event.listen(config_engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))

    async def lock_all():
        async with gateway_locks(config_engine) as locks:
            got = await asyncio.gather(*(locks.try_acquire(f"10.0.{i // 250}.{i % 250}:502") for i in range(1000)))
            return got, [text for text in statements if "pg_try_advisory_lock" in text], locks_held(config_engine)

    got, locking, held = asyncio.run(lock_all())
    assert all(got)
    assert held == 1000
    assert 1 <= len(locking) <= 3
    wait_for("the server to free the locks of the closed connection", lambda: locks_held(config_engine) == 0)


def test_gateways_that_are_released_one_after_another_are_unlocked_in_a_few_statements(config_engine):
    statements = []
    event.listen(config_engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    names = [f"10.0.0.{i}:502" for i in range(200)]

    async def lock_and_release():
        async with gateway_locks(config_engine) as locks:
            await asyncio.gather(*map(locks.try_acquire, names))
            for name in names:
                locks.release(name)
                await asyncio.sleep(0.0005)
            await asyncio.to_thread(wait_for, "the locks to be free", lambda: locks_held(config_engine) == 0)
            assert all(await asyncio.gather(*map(locks.try_acquire, names))), "they can be locked again"
            for name in names:
                locks.release(name)
            assert all(await asyncio.gather(*map(locks.try_acquire, names))), "at once, too"
            await locks.finish()
            assert locks_held(config_engine) == len(names)
            for name in names:
                locks.release(name)
            await locks.finish()
            assert locks_held(config_engine) == 0, "none was locked twice"
            return [text for text in statements if "pg_advisory_unlock" in text]

    began = time.monotonic()
    unlocking = asyncio.run(asyncio.wait_for(lock_and_release(), 60))
    assert len(unlocking) <= (time.monotonic() - began) / GATHER_S + 3


def test_a_cancelled_request_does_not_keep_others_waiting_while_postgresql_does_not_answer(config_engine, monkeypatch):
    monkeypatch.setattr("emm_pipeline.config_db.gateway_locks.ANSWER_TIMEOUT_S", 0.3)
    server_answers = threading.Event()

    async def three_requests():
        async with gateway_locks(config_engine) as locks:
            monkeypatch.setattr(locks._session, "execute", lambda *_: server_answers.wait(60))
            first = asyncio.create_task(locks.try_acquire("10.0.0.1:502"))
            await asyncio.sleep(0.1)
            others = [asyncio.create_task(locks.try_acquire(f"10.0.0.{n}:502")) for n in (2, 3)]
            await asyncio.sleep(0)
            others[0].cancel()
            try:
                return await asyncio.gather(first, others[1])
            finally:
                server_answers.set()

    assert asyncio.run(asyncio.wait_for(three_requests(), 60)) == [True, True]


def test_a_lock_acquired_after_its_task_was_cancelled_is_released(config_engine):
    async def give_up():
        async with gateway_locks(config_engine) as locks:
            waiting = asyncio.create_task(locks.try_acquire(ADDRESS))
            await asyncio.sleep(0)
            waiting.cancel()
            await locks.finish()
            return locks_held(config_engine)

    assert asyncio.run(asyncio.wait_for(give_up(), 60)) == 0


def test_the_locks_of_a_run_that_was_killed_are_free_at_once(config_url, config_engine):
    program = (
        "import asyncio, sys\n"
        "from emm_pipeline.config_db.engine import create_config_engine\n"
        "from emm_pipeline.config_db.gateway_locks import gateway_locks\n"
        "async def hold():\n"
        "    async with gateway_locks(create_config_engine(sys.argv[1])) as locks:\n"
        f"        print(await locks.try_acquire({ADDRESS!r}), flush=True)\n"
        "        await asyncio.sleep(600)\n"
        "asyncio.run(hold())"
    )
    url = config_url.render_as_string(hide_password=False)
    with subprocess.Popen([sys.executable, "-c", program, url], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline().strip() == "True"
            assert not asyncio.run(try_once(config_engine))
        finally:
            os.kill(process.pid, signal.SIGKILL)
    wait_for("the server to free the locks of the killed process", lambda: asyncio.run(try_once(config_engine)))


async def try_once(engine):
    async with gateway_locks(engine) as locks:
        return await locks.try_acquire(ADDRESS)


def test_without_postgresql_every_gateway_is_read_and_a_warning_is_logged_once(postgres, config_engine, caplog):
    dead = create_config_engine(config_engine.url.set(database="no_such_database"))

    async def lock_two():
        async with gateway_locks(dead) as locks:
            return await locks.try_acquire(ADDRESS), await locks.try_acquire("10.0.0.2:502")

    assert asyncio.run(lock_two()) == (True, True)
    assert len(caplog.messages) == 1
    assert "without a lock" in caplog.messages[0]


def test_a_session_that_ends_while_reading_delays_no_gateway(postgres, config_engine):
    async def lose_the_session():
        async with gateway_locks(config_engine) as locks:
            assert await locks.try_acquire(ADDRESS)
            end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'emm gateway locks'"
            await asyncio.to_thread(administrate, postgres, end)
            locks.release(ADDRESS)
            return await locks.try_acquire("10.0.0.2:502")

    assert asyncio.run(asyncio.wait_for(lose_the_session(), 60))


def test_a_server_that_does_not_answer_delays_gateways_only_briefly(config_engine, monkeypatch):
    monkeypatch.setattr("emm_pipeline.config_db.gateway_locks.ANSWER_TIMEOUT_S", 0.2)
    server_answers, answered = threading.Event(), []

    async def ask_a_server_that_hangs():
        async with gateway_locks(config_engine) as locks:
            monkeypatch.setattr(locks._session, "execute", lambda *_: answered.append(server_answers.wait(60)))
            return await locks.try_acquire(ADDRESS), list(answered)

    assert asyncio.run(ask_a_server_that_hangs()) == (True, []), "the gateway is read before the server answers"
    server_answers.set()


@pytest.mark.parametrize("address", ["10.0.0.1:502", "x" * 300 + ":502", "Ä:1"])
def test_a_key_fits_the_64_bits_of_an_advisory_lock(address):
    assert -(2**63) <= lock_key(address) < 2**63


class PostgresOnTcp(EmbeddedPostgres):
    """Listens on a port of the loopback interface too."""

    def __init__(self, data_dir, port):
        super().__init__(data_dir, durable=False)
        self.port = port

    def _pg_ctl(self, action, *options):
        changed = [
            each.replace("listen_addresses=''", f"listen_addresses=127.0.0.1 -c port={self.port}") for each in options
        ]
        super()._pg_ctl(action, *changed)


def keepalive_timers(port):
    """Return the seconds to the next keepalive of each connection to the port (proc(5), /proc/net/tcp)."""
    timers = []
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, _, timer, *_ = line.split()
        if local.endswith(f":{port:04X}") and state == "01":
            kind, ticks = timer.split(":")
            timers.append(int(ticks, 16) / os.sysconf("SC_CLK_TCK") if kind == "02" else None)
    return timers


def test_the_server_checks_after_half_a_minute_whether_the_host_of_a_lock_still_exists():
    port = free_port()

    async def timers_while_locked(engine):
        async with gateway_locks(engine) as locks:
            assert await locks.try_acquire(ADDRESS)
            while None in (timers := keepalive_timers(port)):  # noqa: ASYNC110 - until the last reply is acknowledged
                await asyncio.sleep(0.05)
            return timers

    with postgres_folder() as folder, PostgresOnTcp(folder / "data", port):
        engine = create_config_engine(f"postgresql://postgres@127.0.0.1:{port}/postgres")
        (seconds,) = asyncio.run(asyncio.wait_for(timers_while_locked(engine), 60))
        engine.dispose()
    assert seconds <= 30, "PostgreSQL's own default is the kernel's: two hours"


def test_the_bundled_postgresql_has_room_for_twice_the_locks_of_a_large_fleet(config_engine):
    """Eight runs at once, with 2500 gateways each."""
    lock = "SELECT pg_try_advisory_xact_lock(gateway) AS got FROM generate_series(1, 2 * 8 * 2500) gateway"
    with config_engine.connect() as connection:
        locked = connection.exec_driver_sql(f"SELECT count(*) FROM ({lock}) WHERE got").scalar()
    assert locked == 40_000
