"""RUN_LAUNCHER=celery: runs on two workers that share nothing but Redis, PostgreSQL and the meters.

The daemon, webserver, code server, PostgreSQL, Redis and Celery are real. The tests share one stack and depend on
their order.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from dagster import DagsterInstance, DagsterRun
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import pack_value
from dagster_celery.tasks import create_execute_job_task
from sqlalchemy import create_engine
from support.celery_workers import Redis, Worker, redis_or_skip
from support.dagster_ui import wait_for
from support.frames import points, reading, readings
from support.meters import SimulatedGateway, SimulatedUnit, SimulatorLoop
from support.ports import free_port
from support.postgres import postgres_folder
from support.stack import Stack

from emm_pipeline.cli.demo.processes import ProcessGroup
from emm_pipeline.dagster_ext.internals import WorkerStatus
from emm_pipeline.opening import open_outbox

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(300)]

FOUND_WITHIN_S = 60
SLOW_S = 2.5


@pytest.fixture(scope="module")
def gateways(simulator_loop: SimulatorLoop) -> Iterator[list[SimulatedGateway]]:
    """Two, with a unit each."""
    with (
        SimulatedGateway({1: SimulatedUnit({(4, address): 0 for address in range(80)})}, loop=simulator_loop) as one,
        SimulatedGateway({1: SimulatedUnit({(4, address): 0 for address in range(80)})}, loop=simulator_loop) as other,
    ):
        yield [one, other]


@pytest.fixture(scope="module")
def processes(tmp_path_factory) -> Iterator[ProcessGroup]:
    with ProcessGroup(tmp_path_factory.mktemp("logs")) as processes:
        yield processes


@pytest.fixture(scope="module")
def redis(processes) -> Redis:
    return redis_or_skip(processes)


@pytest.fixture(scope="module")
def stack(redis, gateways) -> Iterator[Stack]:
    """Meters 1 and 2 behind a gateway each, and a run for each meter.

    Schedules are off, and so is what computes energy, because a worker executes one run at a time.
    """
    environment = {"READINGS_STORE": "postgresql", "METERS_PER_RUN": "1", "TZ": "UTC", **redis.environment}
    with postgres_folder() as folder, Stack(folder, environment) as stack:
        for schedule in ("poll_schedule", "discovery_schedule"):
            stack.ui.toggle(schedule, on=False)
        for sensor in ("energy_automation", "energy_again_sensor"):
            stack.ui.stop_sensor(sensor)
        for id_, gateway in enumerate(gateways, start=1):
            stack.add_meter(id_, gateway.port)
        yield stack


@pytest.fixture(scope="module")
def workers(stack, processes, tmp_path_factory) -> dict[str, Worker]:
    folder = tmp_path_factory.mktemp("hosts")
    workers = {name: Worker(name, processes, folder, stack.environment) for name in ("one", "other")}
    for worker in workers.values():
        worker.start()
    return workers


@pytest.fixture
def instance(stack, monkeypatch) -> Iterator[DagsterInstance]:
    """Dagster's instance, as the daemon has it."""
    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)
    with DagsterInstance.get() as instance:
        yield instance


@pytest.fixture
def slow(gateways) -> Iterator[None]:
    for gateway in gateways:
        gateway.units[1].delay_s = SLOW_S
    yield
    for gateway in gateways:
        gateway.units[1].delay_s = 0.0


@pytest.fixture
def slow_poll(stack, workers, gateways, slow) -> str:
    """A poll that reads for some seconds."""
    asked = gateways[0].requests
    run_id = stack.ui.launch("poll")
    wait_for("the gateway to be asked", lambda: gateways[0].requests > asked, every_s=0.1)
    return run_id


def worker_of(workers: dict[str, Worker], stack: Stack, run_id: str) -> Worker:
    """The worker that executes a run."""
    pid = wait_for("the run's process", lambda: stack.ui.process_of(run_id), every_s=0.1)
    return next(worker for worker in workers.values() if pid in {process.pid for process in worker.processes()})


def reading_times(stack: Stack, meter: int) -> list[datetime]:
    with stack.engine.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT time FROM readings WHERE id = %s AND measurement = 'voltageL1' ORDER BY time", (meter,)
        )
        return list(rows.scalars())


def test_a_worker_executes_runs_in_processes_that_were_there_before(stack, workers):
    there = {process.pid for worker in workers.values() for process in worker.processes()}
    for job in ("discovery", "poll"):
        run_id = stack.ui.launch(job)
        assert stack.ui.wait_for_run(run_id)["status"] == "SUCCESS"
        assert stack.ui.process_of(run_id) in there
    assert len(reading_times(stack, 1)) == len(reading_times(stack, 2)) == 1
    assert stack.fork_servers() == [], "the code server forks no runs, and has nothing ready for it"


def test_a_run_that_someone_terminates_is_canceled_at_once_and_its_process_lives_on(stack, workers, slow_poll):
    worker = worker_of(workers, stack, slow_poll)
    there = worker.processes()
    stack.ui.terminate(slow_poll)
    assert stack.ui.wait_for_run(slow_poll, 30)["status"] == "CANCELED"
    assert worker.processes() == there
    assert stack.ui.wait_for_run(stack.ui.launch("discovery"))["status"] == "SUCCESS"


def test_a_run_whose_process_was_killed_is_failed_and_its_worker_has_another(stack, workers, slow_poll):
    worker = worker_of(workers, stack, slow_poll)
    (process,) = worker.processes()
    process.kill()
    assert stack.ui.wait_for_run(slow_poll, FOUND_WITHIN_S)["status"] == "FAILURE"
    wait_for("another process", worker.processes)


def test_a_task_that_is_given_out_again_reads_nothing(stack, workers, gateways, instance):
    run_id = stack.ui.launch("poll")
    stack.ui.wait_for_run(run_id)
    asked = [gateway.requests for gateway in gateways]
    run = instance.get_run_by_id(run_id)
    args = ExecuteRunArgs(run.job_code_origin, run_id, instance.get_ref(), set_exit_code_on_failure=True)
    task = create_execute_job_task(instance.run_launcher.celery)
    result = task.apply_async(kwargs={"execute_job_args_packed": pack_value(args)}, task_id=f"{run_id}-again")
    assert result.get(timeout=30) == 0
    assert asked == [gateway.requests for gateway in gateways]
    assert stack.ui.wait_for_run(run_id)["status"] == "SUCCESS"


def test_a_failed_poll_is_executed_again_from_its_failure_on_another_host(stack, workers, gateways):
    port = gateways[1].port
    stack.sql("UPDATE energy_meters SET port = :port WHERE id = 2", port=free_port())
    failed = stack.ui.launch("poll")
    assert stack.ui.wait_for_run(failed)["status"] == "FAILURE"
    stack.sql("UPDATE energy_meters SET port = :port WHERE id = 2", port=port)
    first, before = worker_of(workers, stack, failed), len(reading_times(stack, 1))
    first.stop()
    again = stack.ui.re_execute(failed)
    ended = stack.ui.wait_for_run(again)
    first.start()
    assert ended["status"] == "SUCCESS", stack.ui.failure(again)
    assert len(reading_times(stack, 1)) == before, "only the meter that failed"


def test_waiting_batches_of_a_host_are_loaded_by_its_own_worker(stack, workers):
    worker = workers["one"]
    worker.stop()
    outbox = open_outbox(stack.settings.model_copy(update={"outbox_dir": worker.outbox}))
    read_at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    outbox.put(points(readings(reading(time=read_at, value=230.0))), read_at, "run").close()
    assert outbox.has_waiting()
    worker.start()
    wait_for("the points", lambda: read_at in reading_times(stack, 1))
    wait_for("an empty outbox", lambda: not outbox.has_waiting())


def test_while_redis_is_unavailable_runs_in_progress_continue_and_new_ones_fail_with_the_reason(
    stack, redis, slow_poll
):
    redis.off()
    run_id = stack.ui.launch("discovery")
    assert stack.ui.wait_for_run(run_id)["status"] == "FAILURE"
    assert "the run was not sent to a worker: Redis (REDIS_HOST, REDIS_PORT)" in stack.log("daemon")
    assert stack.ui.wait_for_run(slow_poll)["status"] == "SUCCESS"
    redis.on()
    assert stack.ui.wait_for_run(stack.ui.launch("discovery"))["status"] == "SUCCESS"


def test_the_shard_of_a_worker_that_is_killed_is_polled_by_the_other_at_the_next_tick(
    stack, workers, gateways, slow, instance
):
    known = {run["runId"] for run in scheduled_polls(stack)}
    asked = [gateway.requests for gateway in gateways]
    began = datetime.now(UTC)
    stack.ui.toggle("poll_schedule", on=True)
    wait_for("both shards", lambda: all(g.requests > n for g, n in zip(gateways, asked, strict=True)), 90, 0.1)
    runs = [run["runId"] for run in scheduled_polls(stack) if run["runId"] not in known]
    by_run = {run_id: worker_of(workers, stack, run_id) for run_id in runs}
    assert set(by_run.values()) == set(workers.values()), "a shard each"
    killed, dead = next(iter(by_run.items()))
    (others,) = set(by_run) - {killed}
    dead.kill()

    def health(run_id: str) -> WorkerStatus:
        return instance.run_launcher.check_run_worker_health(instance.get_run_by_id(run_id)).status

    assert instance.run_launcher.lost(runs) == {killed}, "it holds up no tick, even if run monitoring comes later"
    assert health(killed) is health(others) is WorkerStatus.RUNNING, "a worker may be silent for a moment"
    assert stack.ui.wait_for_run(others)["status"] == "SUCCESS"
    found = stack.ui.wait_for_run(killed, FOUND_WITHIN_S)
    assert found["status"] == "FAILURE"
    next_tick = tick_of(instance.get_run_by_id(killed)) + timedelta(minutes=1)
    assert datetime.now(UTC) < next_tick, "run monitoring was in time"

    def polled_by_the_other() -> list[dict]:
        of_the_tick = [{"key": ".dagster/emm.tick", "value": next_tick.isoformat()}]
        ended = stack.ui.runs(statuses=["SUCCESS"], tags=of_the_tick)
        return ended if len(ended) == 2 else []

    for run in wait_for("both shards at the next tick", polled_by_the_other, 120):
        assert stack.ui.process_of(run["runId"]) in {process.pid for process in by_run[others].processes()}
    stack.ui.toggle("poll_schedule", on=False)
    for meter in (1, 2):
        minutes = Counter(at.replace(second=0, microsecond=0) for at in reading_times(stack, meter) if at > began)
        assert set(minutes.values()) == {1}, "none is doubled"
        assert next_tick in minutes, "none is lost"


def test_missing_step_files_are_reported_if_more_than_the_last_step_is_re_executed(stack, workers):
    (killed,) = [run["runId"] for run in scheduled_polls(stack, statuses=["FAILURE"])]
    again = stack.ui.re_execute(killed)
    assert stack.ui.wait_for_run(again)["status"] == "FAILURE"
    assert f"The step files of run {killed[:8]} are not on this host" in stack.ui.failure(again)
    all_steps = stack.ui.re_execute(killed, "ALL_STEPS")
    assert stack.ui.wait_for_run(all_steps)["status"] == "SUCCESS"


def scheduled_polls(stack: Stack, **filters: list[str]) -> list[dict[str, Any]]:
    of_the_schedule = [{"key": ".dagster/emm.kind", "value": "scheduled poll"}]
    return stack.ui.runs(pipelineName="poll", tags=of_the_schedule, **filters)


def tick_of(run: DagsterRun) -> datetime:
    return datetime.fromisoformat(run.tags[".dagster/emm.tick"])


def test_the_password_of_redis_is_in_no_log_no_event_and_on_no_page(stack, workers, redis):
    texts = {name: stack.log(name) for name in ("daemon", "webserver", "code_server")}
    texts |= {name: worker.log() for name, worker in workers.items()}
    texts["UI"] = str(stack.ui.ask("{ instance { info runLauncher { name } } }"))
    engine = create_engine(stack.settings.dagster_database_url)
    with engine.connect() as connection:
        for table in ("event_logs", "runs", "run_tags"):
            rows = connection.exec_driver_sql(f"SELECT string_agg(t::text, ' ') FROM {table} t")
            texts[table] = rows.scalar_one()
    engine.dispose()
    assert "redis://:**@127.0.0.1" in texts["one"], "it says where it is connected to"
    known = redis.password, quote(redis.password, safe="")
    assert [name for name, said in texts.items() if any(password in said for password in known)] == []
