"""The device state of a run is loaded once, and is right at each of its readings."""

from dataclasses import replace
from datetime import UTC

import pytest
from sqlalchemy import event
from support.polling import IMPATIENT, MINUTE, plan_of, slot, unit
from support.ports import free_port

from emm_pipeline.config_db.engine import create_config_engine
from emm_pipeline.polling import pipeline
from emm_pipeline.polling.plan import PollPlan
from emm_pipeline.polling.run_state import RunState
from emm_pipeline.polling.timing import SampleTime
from emm_pipeline.stores.delivery import Delivery
from emm_pipeline.stores.outbox.folder import Outbox
from emm_pipeline.stores.postgresql.store import PostgresReadingsStore


@pytest.fixture
def poll(config_engine, tmp_path):
    """Read a plan as the readings of a run do, each a minute after the one before; return the results by meter id."""
    delivery = Delivery(PostgresReadingsStore(config_engine), Outbox(tmp_path, 10**8))

    def read(run, plan, number, again=False):
        now = pipeline.datetime.now(UTC)
        limits = pipeline.Limits(200, config_engine, slot(number, again))
        reading, _ = pipeline.read_and_decode(plan, SampleTime(now, now + MINUTE), delivery, run, limits)
        return {point.id: point for point in reading.poll_points}

    return read


@pytest.fixture
def loads(config_engine):
    """The statements that load device state."""
    statements = []

    def note(_connection, _cursor, statement, *_):
        if statement.startswith("SELECT") and "given_registers" in statement:
            statements.append(statement)

    event.listen(config_engine, "before_cursor_execute", note)
    return statements


def test_the_device_state_is_loaded_once_per_run_and_after_a_reading_that_changed_it(simulated_gateway, poll, loads):
    plan = plan_of(simulated_gateway({1: unit(), 2: unit()}))
    for number in range(4):
        poll("run 1", plan, number)
    assert len(loads) == 2, "the first reading saves which registers the meters have"
    poll("run 2", plan, 4)
    poll("run 2", plan, 5)
    assert len(loads) == 3


def test_a_register_that_was_refused_at_one_reading_of_a_run_is_left_out_at_the_next(simulated_gateway, poll):
    gateway = simulated_gateway({1: unit(exceptions={2: 2})})
    plan = plan_of(gateway)
    requests = [poll("run", plan, number)[101].requests for number in range(3)]
    assert requests[0] > requests[1] == requests[2]


def test_a_meter_that_fails_is_read_less_often_within_a_run_and_recovers(polled_gateway, poll, loads):
    gateway = polled_gateway({1: unit(silent=True), 2: unit()})
    plan = plan_of(gateway, IMPATIENT)
    polls = [poll("run", plan, number)[101] for number in range(5)]
    assert [point.requests for point in polls] == [1, 1, 1, 0, 1]
    gateway.units[1].silent = False
    recovered = [poll("run", plan, number)[101] for number in range(5, 12)]
    assert [point.ok for point in recovered][-1]
    assert all(point.ok for point in recovered[[point.ok for point in recovered].index(True) :])
    assert len(loads) < len(polls), "failures are known without loading"


def test_a_second_attempt_reads_only_its_meters_and_the_others_are_known_afterwards(simulated_gateway, poll):
    gateway = simulated_gateway({1: unit(), 2: unit()})
    plan = plan_of(gateway)
    poll("run", plan, 0)
    some = replace(plan, meters=plan.meters[:1])
    assert set(poll("run", some, 0, again=True)) == {101}
    assert set(poll("run", plan, 1)) == {101, 102}


NO_METERS = PollPlan((), {})


@pytest.fixture
def asked(caplog):
    """The number of times that the database was asked for the device state in vain."""
    return lambda: sum("device state could not be loaded" in message for message in caplog.messages)


@pytest.fixture
def dead_database():
    engine = create_config_engine(f"postgresql://user:password@127.0.0.1:{free_port()}/none")
    yield engine
    engine.dispose()


def test_a_reading_does_not_ask_again_a_database_that_did_not_answer_just_before_it(dead_database, asked):
    state = RunState()
    state.prepare(dead_database, NO_METERS, None)
    assert asked() == 1
    assert not state.device_states(dead_database, NO_METERS, None).is_loaded
    assert asked() == 1


def test_each_reading_asks_a_database_that_did_not_answer_for_the_reading_before(dead_database, asked):
    state = RunState()
    for readings in (1, 2):
        state.prepare(dead_database, NO_METERS, None)
        state.device_states(dead_database, NO_METERS, None)
        assert asked() == readings
    state.device_states(dead_database, NO_METERS, None)
    assert asked() == 3
