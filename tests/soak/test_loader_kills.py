"""Processes that read, load and replay, and InfluxDB, are killed at random: nothing is lost or stored twice."""

import multiprocessing
import os
import random
import time
from contextlib import closing
from pathlib import Path

import pytest
from soak.judge import CountingUnit, Judge
from soak.loader import Place, load_forever, replay_forever
from soak.table import publish
from support.dagster_ui import wait_for

from emm_pipeline.errors import StoreError
from emm_pipeline.fleet import EnergyMeter
from emm_pipeline.stores.delivery import Delivery
from emm_pipeline.stores.outbox.folder import Outbox

METERS = 20


@pytest.fixture
def judge(influxdb, simulated_gateway, tmp_path):
    units = {id_: CountingUnit() for id_ in range(1, METERS + 1)}
    gateways = [simulated_gateway({id_: units[id_] for id_ in units if id_ % 4 == rest}) for rest in range(4)]
    bucket = influxdb.create_database("kills")
    judge = Judge(units, tmp_path / "outbox", tmp_path / "archive", influxdb, bucket)
    meters = tuple(EnergyMeter(id_, "127.0.0.1", gateways[id_ % 4].port, id_, "counting") for id_ in units)
    judge.place = Place(
        meters, tmp_path / "outbox", tmp_path / "archive", influxdb.url, influxdb.token, influxdb.org, bucket
    )
    return judge


@pytest.fixture
def start(monkeypatch):
    """Start a process quickly, by forking one that has already imported all modules."""
    tests = str(Path(__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["soak.loader", "emm_pipeline.modbus.decoding", "pandas"])
    processes = []

    def started(target, place):
        process = context.Process(target=target, args=(place,))
        process.start()
        processes.append(process)
        return process

    yield started
    for process in processes:
        process.kill()
        process.join()


def kill_at_random(judge, start, influxdb, kills, seed):
    """Kill a loader and its successors, sometimes a concurrent replay, or the loader while InfluxDB is unavailable."""
    chance = random.Random(seed)
    loader, replay = start(load_forever, judge.place), start(replay_forever, judge.place)
    wait_for("the first reading", judge.stored)
    for number in range(kills):
        time.sleep(chance.uniform(0.02, 0.5))
        assert loader.is_alive()
        assert replay.is_alive()
        if number % 4 == 1:
            influxdb.kill()
            time.sleep(chance.uniform(0.3, 1))
            loader.kill()  # while it holds readings that it could not store
            influxdb.start()
            loader = start(load_forever, judge.place)
        elif number % 4 == 3:
            replay.kill()
            replay.join()
            replay = start(replay_forever, judge.place)
        else:
            loader.kill()
            loader.join()
            loader = start(load_forever, judge.place)
    for process in (loader, replay):
        process.kill()
        process.join()
    with closing(judge.place.store()) as store:
        wait_for("InfluxDB to answer", lambda: answers(store))
        assert Delivery(store, Outbox(judge.place.outbox, 10**9)).replay().problems == []
    assert list(judge.place.outbox.glob("*.points")) == []


def answers(store):
    try:
        store.ping()
    except StoreError:
        return False
    return True


def check(row, kills):
    assert row.is_clean(), row
    assert row.stored > 0
    # A loader that is killed while it reads loses this one reading of each meter, which has replied once more.
    assert row.read - row.stored <= METERS * (kills + 1)


def test_what_reached_the_outbox_is_stored_once_whatever_is_killed_and_when(judge, start, influxdb):
    kill_at_random(judge, start, influxdb, kills=14, seed=random.randrange(10**6))
    check(judge.verdict("", 14), 14)


@pytest.mark.soak
def test_200_kills_lose_nothing_and_double_nothing(judge, start, influxdb):
    kill_at_random(judge, start, influxdb, kills=200, seed=1)
    row = judge.verdict("SIGKILL of loading and replaying processes and of InfluxDB, without Dagster", 200)
    publish(row)
    check(row, 200)
