"""Fleet readings with device state between them: real sockets, a real database, without Dagster."""

import threading
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from sqlalchemy import text
from support.polling import (
    CURRENT,
    IMPATIENT,
    MINUTE,
    TYPE,
    VOLTAGE,
    plan_of,
    read,
    slot,
    unit,
    values,
)
from support.virtual_server import eventually

from emm_pipeline.config_db.engine import create_config_engine
from emm_pipeline.config_db.lock_session import lock_key
from emm_pipeline.fleet import EnergyMeter
from emm_pipeline.modbus.transport import pacing
from emm_pipeline.modbus.transport.tcp import TcpTransport
from emm_pipeline.polling import open_gateways, pipeline
from emm_pipeline.polling.plan import PollPlan
from emm_pipeline.readings import FailureKind


def test_an_illegal_address_affects_its_register_and_the_next_poll_omits_it(config_engine, simulated_gateway):
    gateway = simulated_gateway({1: unit(exceptions={2: 2}), 2: unit()})
    plan = plan_of(gateway)
    samples = read(config_engine, plan, slot(0))
    assert values(plan, samples) == {
        (101, "voltage"): 230.5,
        (101, "energy"): 1234.5,
        **{(102, name): value for name, value in (("voltage", 230.5), ("current", 4.25), ("energy", 1234.5))},
    }
    assert [sample.failure for sample in samples] == [None, None]
    assert "registers 2-3 (current): refused with exception 2" in samples[0].notices[0]
    assert samples[1].notices == ()

    asked = gateway.requests
    again = read(config_engine, plan, slot(1))
    assert values(plan, again) == values(plan, samples)
    assert again[0].notices == samples[0].notices
    assert gateway.requests - asked == 3, "two runs of registers of the old meter, one of the newer one of its type"


def test_a_register_in_a_new_row_is_requested_though_it_was_refused_before(config_engine, simulated_gateway):
    gateway = simulated_gateway({1: unit(exceptions={2: 2})})
    read(config_engine, plan_of(gateway))
    gateway.units[1].exceptions = {}
    assert len(values(plan_of(gateway), read(config_engine, plan_of(gateway)))) == 2
    changed = plan_of(gateway, replace(TYPE, registers=(VOLTAGE, CURRENT)))
    assert len(values(changed, read(config_engine, changed))) == 2
    assert values(changed, read(config_engine, changed))[101, "current"] == 4.25


def test_one_dead_unit_among_30_does_not_affect_the_others_and_is_read_less_often(config_engine, polled_gateway):
    gateway = polled_gateway({u: unit(silent=u == 7) for u in range(1, 31)}, one_at_a_time=True)
    plan = plan_of(gateway, IMPATIENT)
    asked = []
    for number in range(9):
        samples = read(config_engine, plan, slot(number))
        failed = [sample for sample in samples if sample.failure]
        assert [sample.meter.unit_id for sample in failed] == [7]
        assert all(sample.blocks for sample in samples if not sample.failure)
        asked.append(failed[0].requests)
    assert asked == [1, 1, 1, 0, 1, 0, 0, 0, 1]
    assert failed[0].failure.kind is FailureKind.TIMEOUT

    gateway.units[7].silent = False
    waits = read(config_engine, plan, slot(9))[6]
    assert waits.failure.kind is FailureKind.NOT_DUE
    assert "no reply within 0.3 s" in waits.failure.reason
    assert "failing since 2026-01-01 12:00:00 UTC, next attempt at 2026-01-01 12:13:00 UTC" in waits.failure.reason
    assert read(config_engine, plan, slot(13))[6].failure is None
    assert read(config_engine, plan, slot(14))[6].failure is None, "the first success ended it"


def test_a_meter_that_keeps_failing_is_read_if_a_person_requests_it(config_engine, polled_gateway):
    gateway = polled_gateway({1: unit(silent=True)})
    plan = plan_of(gateway, IMPATIENT)
    for number in range(3):
        read(config_engine, plan, slot(number))
    assert read(config_engine, plan, slot(3))[0].requests == 0
    assert read(config_engine, plan)[0].requests > 0
    gateway.units[1].silent = False
    assert read(config_engine, plan)[0].failure is None
    assert read(config_engine, plan, slot(3))[0].failure is None, "and its success counts for the schedule"


def test_a_second_attempt_does_not_count_as_a_second_failure(config_engine, polled_gateway):
    gateway = polled_gateway({1: unit(silent=True)})
    plan = plan_of(gateway, IMPATIENT)
    for number in range(2):
        read(config_engine, plan, slot(number))
        read(config_engine, plan, slot(number, again=True))
    assert read(config_engine, plan, slot(2))[0].requests > 0


def test_polling_continues_after_whatever_exception_a_device_sends(config_engine, polled_gateway):
    gateway = polled_gateway({1: unit()})
    plan = plan_of(gateway)
    for code in (1, 2, 3, 4, 5, 6, 10, 11, 99, 255):
        gateway.units[1].exception = code
        [sample] = read(config_engine, plan)
        assert (sample.failure.exception_code, sample.blocks) == (code, ())
        gateway.units[1].exception = None
        assert read(config_engine, plan)[0].failure is None


def test_two_runs_read_one_gateway_one_after_the_other(config_engine, simulated_gateway):
    gateway = simulated_gateway({u: unit(delay_s=0.03) for u in range(1, 9)})
    results = []
    threads = [threading.Thread(target=lambda: results.append(read(config_engine, plan_of(gateway)))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [sample.failure for samples in results for sample in samples] == [None] * 24
    assert gateway.max_simultaneous_requests == 1
    assert gateway.max_open_connections == 1
    assert [request.unit_id for request in gateway.received] == list(range(1, 9)) * 3


def test_a_poll_that_waits_for_another_run_keeps_its_deadline_and_reads_the_other_gateways(
    config_engine, polled_gateway, clock, monkeypatch
):
    clock.show_in_emm(monkeypatch)
    taken, free = polled_gateway({1: unit()}), polled_gateway({1: unit()}, host="127.0.0.2")
    meters = [plan_of(taken).meters[0], EnergyMeter(7, free.host, free.port, 1, "t")]
    with config_engine.connect() as another_run:
        another_run.execute(text("SELECT pg_advisory_lock(:key)"), {"key": lock_key(meters[0].address)})
        waiting, read_ = read(config_engine, PollPlan(tuple(meters), {"t": TYPE}), seconds=1.0)
    assert waiting.failure.kind is FailureKind.DEADLINE
    assert f"another run is using {meters[0].address}" in waiting.failure.reason
    assert read_.failure is None
    assert taken.connections == 0
    assert clock.seconds == pytest.approx(1.0, abs=0.01)


def test_a_gateway_is_locked_no_longer_than_it_is_read(config_engine, simulated_gateway):
    """A slow gateway in the same run does not delay the others."""
    slow, fast = simulated_gateway({1: unit(delay_s=120)}), simulated_gateway({1: unit()}, host="127.0.0.2")
    patient = replace(TYPE, timeout_s=150)
    plan = PollPlan((*plan_of(slow).meters, EnergyMeter(7, fast.host, fast.port, 1, "t")), {"t": patient})
    slow_reading = threading.Thread(target=read, args=(config_engine, plan))
    slow_reading.start()
    try:
        eventually(lambda: slow.requests and fast.requests)
        [sample] = read(config_engine, plan_of(fast))
        assert sample.failure is None
        assert slow_reading.is_alive()
    finally:
        slow.stop()
        slow_reading.join()


def test_readings_continue_while_postgresql_is_unavailable_and_no_state_is_saved(
    config_engine, simulated_gateway, caplog
):
    away = create_config_engine(config_engine.url.set(database="no_such_database"))
    gateway = simulated_gateway({1: unit(exceptions={2: 2}), 2: unit()})
    samples = read(away, plan_of(gateway), slot(0))
    assert [sample.failure for sample in samples] == [None, None]
    assert any("every meter is read completely" in message for message in caplog.messages)


def test_without_device_state_no_gateway_lock_is_requested(simulated_gateway, monkeypatch, caplog):
    asked = []
    monkeypatch.setattr(open_gateways, "PostgresGatewayLocks", asked.append)
    nowhere = create_config_engine("postgresql+psycopg2://postgres@127.0.0.1:1/emm")
    plan = plan_of(simulated_gateway({1: unit(), 2: unit()}))
    assert all(reading.blocks for reading in read(nowhere, plan))
    assert asked == []


def test_a_gateway_that_restarted_is_read_with_the_next_poll(config_engine, simulated_gateway):
    gateway = simulated_gateway({1: unit()})
    plan = plan_of(gateway)
    assert read(config_engine, plan, slot(0))[0].failure is None
    gateway.stop()
    assert read(config_engine, plan, slot(1))[0].failure.kind is FailureKind.REFUSED
    gateway.start()
    assert read(config_engine, plan, slot(2))[0].failure is None


def test_connections_are_opened_a_few_at_a_time_and_not_in_one_burst(polled_gateway, monkeypatch):
    opened = []

    async def note_time(self, timeout_s):
        opened.append(time.monotonic())
        await real_open(self, timeout_s)

    real_open = TcpTransport.open
    monkeypatch.setattr(TcpTransport, "open", note_time)
    gateways = [polled_gateway({1: unit()}, host=f"127.0.1.{i + 1}") for i in range(60)]
    meters = tuple(EnergyMeter(i, g.host, g.port, 1, "t") for i, g in enumerate(gateways))
    samples = pipeline.read(PollPlan(meters, {"t": TYPE}), datetime.now(UTC) + MINUTE, pipeline.Limits(200))
    assert [sample.failure for sample in samples if sample.failure] == []
    bursts = Counter(round(at - opened[0], 6) for at in opened)
    assert list(bursts.values()) == [pacing.CONNECTIONS_AT_ONCE] * 6
    pauses = [later - earlier for earlier, later in pairwise(bursts)]
    assert pauses == pytest.approx([pacing.CONNECTIONS_PAUSE_S] * 5)


@pytest.mark.parametrize(
    ("soft", "hard", "allowed"), [(80, 400, 200), (80, 284, 200), (80, 283, 199), (80, 80, 1), (1024, 1024, 200)]
)
def test_the_descriptors_that_the_process_may_open_are_respected(soft, hard, allowed, monkeypatch):
    """20 descriptors are open, and 64 are reserved."""
    limits = [(soft, hard)]
    monkeypatch.setattr(pacing, "_open_descriptors", lambda: 20)
    monkeypatch.setattr(pacing.resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(pacing.resource, "setrlimit", lambda _, new: limits.append(new))
    assert pacing.allowed_connections(200) == allowed
    assert limits[-1] == (max(soft, min(hard, 284)), hard)
