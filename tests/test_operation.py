"""Operation of a stack: killed processes, a daemon that was down, retention, and credentials that nothing shows.

The daemon, webserver, code server, PostgreSQL and InfluxDB are real. The tests share one stack and depend on their
order.
"""

import secrets
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from dagster import DagsterInstance
from sqlalchemy import create_engine, text
from support.dagster_ui import LOCATION, wait_for
from support.influxdb import InfluxDB
from support.mail import RECEIVER, SENDER
from support.meters import SimulatedGateway, SimulatedUnit, SimulatorLoop
from support.ports import free_port
from support.postgres import postgres_folder
from support.stack import Stack

from emm_pipeline.dagster_ext import launchers
from emm_pipeline.dagster_ext.internals import WorkerStatus
from emm_pipeline.defs.runs import MAX_RUNTIME_TAG

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(240)]

FOUND_WITHIN_S = 120
IN_FLIGHT = ["QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING"]
DATABASE = "operation"
SECRETS = {name: f"{name}-{secrets.token_hex(16)}" for name in ("database", "store", "mail")}
"""Passwords that occur nowhere else, so that they can be searched for."""


@pytest.fixture(scope="module")
def gateway(simulator_loop: SimulatorLoop) -> Iterator[SimulatedGateway]:
    """Four units that can be made slow."""
    registers = {(4, address): 0 for address in range(80)}
    units = {id_: SimulatedUnit(registers) for id_ in range(1, 5)}
    with SimulatedGateway(units, loop=simulator_loop) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def stack(influxdb: InfluxDB, gateway: SimulatedGateway) -> Iterator[Stack]:
    """Meters 1 to 4 behind one gateway, meter 5 a closed port; polls on schedule are switched off."""
    bucket = influxdb.create_database(DATABASE)
    token = influxdb.create_user("operator", SECRETS["store"])
    influxdb._statement(f'GRANT ALL ON "{DATABASE}" TO operator')
    environment = {
        "READINGS_STORE": "influxdb",
        "INFLUXDB_URL": influxdb.url,
        "INFLUXDB_TOKEN": token,
        "INFLUXDB_BUCKET": bucket,
        "INFLUXDB_ORG": "emm",
        "POSTGRES_PASSWORD": SECRETS["database"],
        "EMAIL_NOTIFICATIONS": "on",
        "LOGGER_SENDER_EMAIL_HOST": "127.0.0.1",
        "LOGGER_SENDER_EMAIL_PORT": str(free_port()),
        "LOGGER_SENDER_EMAIL_ADDRESS": SENDER,
        "LOGGER_SENDER_EMAIL_PASSWORD": SECRETS["mail"],
        "LOGGER_RECEIVER_EMAIL_ADDRESS": RECEIVER,
        "TZ": "UTC",
    }
    with postgres_folder() as folder, Stack(folder, environment) as stack:
        ask_for_a_password(stack)
        stack.ui.toggle("poll_schedule", on=False)
        for id_ in range(1, 5):
            stack.add_meter(id_, gateway.port, unit_id=id_)
        stack.add_meter(5, free_port())
        stack.ui.wait_for_run(stack.ui.launch("discovery"))
        yield stack


def ask_for_a_password(stack: Stack) -> None:
    """Let PostgreSQL ask for the password that the processes were given, which it does not by default."""
    stack.sql(f"ALTER USER postgres PASSWORD '{SECRETS['database']}'")
    hba = stack.postgres.data_dir / "pg_hba.conf"
    hba.write_text("local all all scram-sha-256\n")
    stack.sql("SELECT pg_reload_conf()")


def dagsters(stack: Stack, statement: str) -> list:
    """Execute a statement in Dagster's own database."""
    engine = create_engine(stack.settings.dagster_database_url)
    with engine.begin() as connection:
        result = connection.execute(text(statement))
        rows = result.all() if result.returns_rows else []
    engine.dispose()
    return rows


@pytest.fixture
def slow_meters(gateway) -> Iterator[None]:
    """Four units that answer after 2 s each."""
    for unit in gateway.units.values():
        unit.delay_s = 2.0
    yield
    for unit in gateway.units.values():
        unit.delay_s = 0.0


@pytest.fixture
def slow_poll(stack, gateway, slow_meters) -> str:
    """A poll that someone started by hand, which reads for 8 s."""
    asked = gateway.requests
    run_id = stack.ui.launch("poll")
    wait_for("the gateway to be asked", lambda: gateway.requests > asked, every_s=0.1)
    return run_id


def test_a_run_whose_process_was_killed_is_found_and_failed(stack, slow_poll):
    for worker in stack.run_workers():
        worker.kill()
    killed = time.monotonic()
    assert stack.ui.wait_for_run(slow_poll, FOUND_WITHIN_S)["status"] == "FAILURE"
    print(f"found after {time.monotonic() - killed:.0f} s")


def test_the_gateway_of_a_killed_run_can_be_read_at_once(stack, gateway):
    ended = stack.ui.wait_for_run(stack.ui.launch("poll"))
    assert "1 of 5 meters failed: meter 5" in stack.ui.failure(ended["runId"])


def test_the_process_that_runs_are_forked_from_is_restarted_when_it_was_killed(stack):
    (server,) = wait_for("a fork server", stack.fork_servers)
    server.kill()
    server.wait(60)
    assert stack.ui.wait_for_run(stack.ui.launch("discovery"))["status"] == "SUCCESS"
    assert [another.pid for another in stack.fork_servers()] != [server.pid]


def test_a_run_that_takes_longer_than_it_may_is_ended_and_so_is_its_process(stack, gateway, slow_meters):
    for unit in gateway.units.values():
        unit.delay_s = 30.0  # a type's timeout keeps that from happening; a library's bug might not
    stack.sql("INSERT INTO meter_types (type, timeout_s) VALUES ('sdm630', 60)")
    asked = gateway.requests
    run_id = stack.ui.launch("poll", **{MAX_RUNTIME_TAG: "2"})
    wait_for("the gateway to be asked", lambda: gateway.requests > asked, every_s=0.1)
    assert stack.run_workers()
    ended = stack.ui.wait_for_run(run_id, FOUND_WITHIN_S)
    stack.sql("DELETE FROM meter_types")
    assert ended["status"] in {"FAILURE", "CANCELED"}, "by run monitoring, or by the run that it interrupted"
    wait_for("its process to end", lambda: not stack.run_workers())


def test_runs_of_an_unavailable_code_server_are_failed_after_a_minute_and_not_before(stack, slow_poll, monkeypatch):
    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)
    now = time.monotonic()
    monkeypatch.setattr(launchers.time, "monotonic", lambda: now)
    # The daemon asks as this process does; it is gone, so that the run is not ended by it first.
    stack.kill("daemon")
    with DagsterInstance.get() as instance:

        def health() -> WorkerStatus:
            return instance.run_launcher.check_run_worker_health(instance.get_run_by_id(slow_poll)).status

        assert health() is WorkerStatus.RUNNING
        stack.kill("code_server")
        assert health() is WorkerStatus.RUNNING, "a restart takes a moment"
        now += launchers.UNREACHABLE_FOR_S - 1
        assert health() is WorkerStatus.RUNNING
        now += launchers.UNREACHABLE_FOR_S + 1
        assert health() is WorkerStatus.RUNNING, "no check for a minute: this may be another outage"
        now += launchers.UNREACHABLE_FOR_S
        assert health() is WorkerStatus.FAILED
        stack.start_code_server()
        assert health() is WorkerStatus.FAILED, "the process was the code server's child"
    stack.start_daemon()
    assert stack.ui.wait_for_run(slow_poll, FOUND_WITHIN_S)["status"] == "FAILURE"


def test_runs_of_a_restarted_host_are_failed_and_one_missed_tick_is_repeated(stack, slow_poll):
    stack.kill("code_server")
    stack.kill("daemon")
    assert stack.ui.runs(runIds=[slow_poll])[0]["status"] == "STARTED"
    stack.ui.toggle("poll_schedule", on=True)
    was_down_for(stack, timedelta(hours=1))
    back = datetime.now(UTC)
    stack.start_code_server()
    stack.start_daemon()

    assert stack.ui.wait_for_run(slow_poll, FOUND_WITHIN_S)["status"] == "FAILURE"
    print(f"found {(datetime.now(UTC) - back).total_seconds():.0f} s after the host was back")
    ticks = wait_for("a tick", lambda: stack.ui.ticks("poll_schedule"))
    stack.ui.toggle("poll_schedule", on=False)
    minutes = (datetime.now(UTC) - back) // timedelta(minutes=1)
    oldest = min(tick["timestamp"] for tick in ticks)
    assert back.timestamp() - oldest < 60, "of an hour of ticks the last one; or a later one, if starting took so long"
    assert len(ticks) <= minutes + 2
    assert all(tick["endTimestamp"] >= tick["timestamp"] for tick in ticks if tick["endTimestamp"])


def was_down_for(stack: Stack, time_down: timedelta) -> None:
    """Make the last thing that the daemon did so much older."""
    then = (datetime.now(UTC) - time_down).timestamp()
    dagsters(stack, "DELETE FROM job_ticks")
    for name in ("start_timestamp", "last_iteration_timestamp"):
        new = f"regexp_replace(instigator_body, '\"{name}\"\\: [0-9.]+', '\"{name}\"\\: {then}')"
        dagsters(stack, f"UPDATE instigators SET instigator_body = {new}")


def test_the_asset_page_keeps_each_status_after_its_run_was_pruned(stack):
    # The last tick of a schedule that was switched off may still start a run beside the first of these.
    for _ in range(2):
        stack.ui.wait_for_run(stack.ui.launch("poll"))
        wait_for("all polls to end", lambda: not polls(stack, statuses=IN_FLIGHT))
    before = stack.ui.partitions()
    assert (before["materialized"], before["failed"]) == ({"1", "2", "3", "4"}, {"5"})
    dagsters(stack, "UPDATE runs SET update_timestamp = update_timestamp - interval '100 hours'")
    assert len(polls(stack)) > 1
    assert stack.ui.wait_for_run(stack.ui.launch("prune"))["status"] == "SUCCESS"
    assert len(polls(stack)) == 1, "the last one, which states how each meter is"
    assert stack.ui.partitions() == before
    dagsters(stack, "UPDATE asset_keys SET cached_status_data = NULL")
    assert stack.ui.partitions() == before, "and Dagster can count it again"


def polls(stack: Stack, **filters: list[str]) -> set[str]:
    return {run["runId"] for run in stack.ui.runs(**filters) if run["jobName"] == "poll"}


def test_no_credential_is_in_a_log_a_database_a_file_the_ui_or_the_process_list(stack, influxdb, slow_poll):
    commands = command_lines(stack)
    assert commands
    assert stack.ui.wait_for_run(slow_poll)

    # Each login fails once, so that its error is written wherever errors are.
    influxdb._statement("SET PASSWORD FOR operator = 'another'")
    stack.ui.wait_for_run(stack.ui.launch("poll"))
    stack.sql("INSERT INTO alert_lines (raised, line) VALUES (true, 'x')")
    assert stack.ui.wait_for_run(stack.ui.launch("send_alerts"))["status"] == "FAILURE"
    stack.sql("ALTER USER postgres PASSWORD 'another'")
    refused = stack.ui.launch("poll")
    wait_for("the refused login", lambda: "password authentication failed" in logs(stack))
    stack.sql(f"ALTER USER postgres PASSWORD '{SECRETS['database']}'")
    found = stack.ui.wait_for_run(refused, FOUND_WITHIN_S)
    assert found["status"] == "FAILURE", "by the code server, whose look for dead runs failed meanwhile"

    everything = {
        "process list": "\n".join(commands),
        "logs": logs(stack),
        "files": "".join(read(path) for path in Path(stack.environment["DAGSTER_HOME"]).rglob("*") if path.is_file()),
        "Dagster's database": dump(stack.settings.dagster_database_url),
        "configuration database": dump(stack.settings.config_database_url),
        "UI": ui_pages(stack),
    }
    assert "401" in everything["Dagster's database"], "it was provoked"
    leaks = [(place, name) for place, texts in everything.items() for name in SECRETS if SECRETS[name] in texts]
    assert leaks == []


def command_lines(stack: Stack) -> list[str]:
    """Return the command lines of all processes of the stack, run workers and PostgreSQL's included."""
    assert stack.run_workers()
    return [" ".join(process.cmdline()) for process in psutil.process_iter() if is_readable(process)]


def is_readable(process: psutil.Process) -> bool:
    try:
        return bool(process.cmdline())
    except psutil.Error:
        return False


def logs(stack: Stack) -> str:
    return stack.log("code_server") + stack.log("daemon") + stack.log("webserver")


def read(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")


def dump(url) -> str:
    """Return every row of every table."""
    engine = create_engine(url)
    with engine.connect() as connection:
        tables = connection.exec_driver_sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").scalars()
        rows = [row for name in tables.all() for row in connection.exec_driver_sql(f'SELECT t::text FROM "{name}" t')]
    engine.dispose()
    return "\n".join(row[0] for row in rows)


def ui_pages(stack: Stack) -> str:
    """Return what Dagster's pages of the instance, of its resources and of its runs are made of."""
    instance = stack.ui.ask(
        "{ instance { id info runLauncher { name } daemonHealth { allDaemonStatuses { daemonType } } } }"
    )
    resources = stack.ui.ask(
        """query($r: RepositorySelector!) { allTopLevelResourceDetailsOrError(repositorySelector: $r) {
             ... on ResourceDetailsList { results { name configuredValues { key value type } } } } }""",
        r=LOCATION,
    )
    runs = stack.ui.ask(
        """{ runsOrError(limit: 50) { ... on Runs { results { runId runConfigYaml tags { key value }
             eventConnection { events { ... on MessageEvent { message }
               ... on ExecutionStepFailureEvent { error { message stack } } } } } } } }"""
    )
    assert instance["instance"]["info"]
    return f"{instance} {resources} {runs}"
