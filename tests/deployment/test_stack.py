"""docker-compose.yml in a real Docker: `make test-stack`. The tests share one stack and depend on their order."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from support.compose import ComposeStack, docker
from support.dagster_ui import wait_for

pytestmark = [pytest.mark.stack]

HERE = Path(__file__).parent
FIRST_POINT_TIMEOUT_S = 180
"""Time from `up` to the first points: a discovery at the next minute, and a poll at the following one."""
NEXT_POINT_TIMEOUT_S = 150
REPLAY_TIMEOUT_S = 120
KILLED = 137
"""The exit code of a service that the engine killed because it did not end within 10 s."""
PORT_ADDRESSES = "{{range .NetworkSettings.Ports}}{{range .}}{{.HostIp}} {{end}}{{end}}"


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest) -> Iterator[ComposeStack]:
    engine = subprocess.run(["docker", "info"], capture_output=True, text=True, check=False)
    assert engine.returncode == 0, f"a Docker engine is needed: {engine.stderr}"
    stack = ComposeStack("emm-test-stack", HERE / "sampling.yml")
    if stack.has_stand_ins:
        print("\n  with the stand-in for InfluxDB, and a double of Grafana")
    stack.remove()
    failed_before = request.session.testsfailed
    try:
        yield stack
    finally:
        if request.session.testsfailed > failed_before:
            print(stack("logs", "--tail", "60"))
        stack.remove()


def points(stack: ComposeStack, since: float = 0) -> list[int]:
    """Return the times of the virtual meter's readings in milliseconds, oldest first."""
    rows = stack.query(f"SELECT value FROM test_measurement WHERE id = '0' AND time > {int(since * 1000)}ms")
    return [row["time"] for row in rows]


def wait_for_point(stack: ComposeStack, since: float, timeout_s: float = NEXT_POINT_TIMEOUT_S) -> None:
    wait_for("a point of test_measurement", lambda: points(stack, since), timeout_s, every_s=1)


def samples_taken(stack: ComposeStack) -> list[tuple[float, float]]:
    """Return begin and end, in seconds since 1970, of every successful reading step, whatever the result of its run."""
    runs = stack.ui.ask(
        """{ runsOrError(filter: {pipelineName: "poll"}, limit: 500) { ... on Runs { results {
               stepStats { stepKey status startTime endTime } } } } }"""
    )["runsOrError"]["results"]
    return [
        (step["startTime"], step["endTime"])
        for run in runs
        for step in run["stepStats"]
        if ".read_and_decode[" in step["stepKey"] and step["status"] == "SUCCESS"
    ]


def lost(stack: ComposeStack) -> list[str]:
    """Return readings that Dagster reports but InfluxDB does not have, and successful ones without their value."""
    polls = {row["time"]: row["ok"] for row in stack.query("SELECT ok FROM emm_poll WHERE id = '0'")}
    unknown = [
        f"sample of {begin} to {end}"
        for begin, end in samples_taken(stack)
        if not any(begin <= time_ms / 1000 <= end for time_ms in polls)
    ]
    good = {time_ms for time_ms, ok in polls.items() if ok}
    return unknown + [f"value of {time_ms} ms" for time_ms in good ^ set(points(stack))]


def wait_until_nothing_is_missing(stack: ComposeStack) -> None:
    missing: list[str] = []

    def nothing_is_missing() -> bool:
        missing[:] = lost(stack)
        return not missing

    with suppress(AssertionError):  # to say what is missing, instead of that something is
        wait_for("everything that was read to be stored", nothing_is_missing, REPLAY_TIMEOUT_S, every_s=2)
    # The last answer counts: a sample that is stored between the two queries of `lost` would look incomplete.
    assert missing == []


def test_the_file_is_valid(stack):
    assert stack("config", "--quiet") == ""


def test_points_arrive_after_up_without_another_step(stack):
    stack.timed("build the images", lambda: stack("build"))
    began = time.time()
    stack.timed("up, until docker-compose returns", lambda: stack("up", "--build", "--detach"))
    stack.log_in()
    wait_for_point(stack, began, FIRST_POINT_TIMEOUT_S)
    stack.times["up, until the first point"] = time.time() - began
    stack.wait_until_healthy()


def test_no_service_of_ours_runs_as_root_or_may_write_to_its_own_files(stack):
    for service in ("code", "webserver", "daemon", "virtual_modbustcp_server"):
        assert stack("exec", "-T", service, "id", "-u").strip() != "0"
        with pytest.raises(AssertionError, match="Read-only file system"):
            stack("exec", "-T", service, "touch", "/here")


def test_no_container_has_the_engines_socket_and_every_port_is_on_loopback(stack):
    for name in docker("ps", "--quiet", "--filter", f"label=com.docker.compose.project={stack.project}").split():
        assert "docker.sock" not in docker("inspect", "--format", "{{json .Mounts}}", name)
        addresses = docker(
            "inspect", "--format", "{{range .NetworkSettings.Ports}}{{range .}}{{.HostIp}} {{end}}{{end}}", name
        )
        assert set(addresses.split()) <= {"127.0.0.1"}


@pytest.mark.parametrize("service", ["postgres", "influxdb", "virtual_modbustcp_server", "code", "webserver", "daemon"])
def test_a_restarted_service_recovers_and_no_reading_is_missing(stack, service):
    stack.timed(f"restart {service}", lambda: stack("restart", service))
    began = time.time()
    stack.timed(f"restart {service}: healthy", stack.wait_until_healthy)
    stack.timed(f"restart {service}: next point", lambda: wait_for_point(stack, began))
    wait_until_nothing_is_missing(stack)
    assert samples_taken(stack)


def test_readings_during_an_outage_of_influxdb_are_stored_afterwards(stack):
    stack("stop", "influxdb")
    taken_before = len(samples_taken(stack))
    wait_for("two samples without a store", lambda: len(samples_taken(stack)) > taken_before + 1, NEXT_POINT_TIMEOUT_S)
    began = time.time()
    stack("start", "influxdb")
    stack.wait_until_healthy()
    wait_until_nothing_is_missing(stack)
    stack.times["influxdb back, until nothing is missing"] = time.time() - began


def test_stop_ends_every_service_without_killing_it_and_start_continues(stack):
    before = points(stack)
    stack.timed("stop", lambda: stack("stop"))
    # docker/stack.yml: `code` is killed if a run still reads, as often happens with six samples a minute. Its
    # readings are in the outbox, as the end of this test shows.
    assert {one["Service"] for one in stack.containers() if one["ExitCode"] == KILLED} <= {"code"}
    began = time.time()
    stack.timed("start", lambda: stack("start"))
    stack.wait_until_healthy()
    wait_for_point(stack, began)
    assert set(before) <= set(points(stack))
    wait_until_nothing_is_missing(stack)


def test_down_and_up_again_keeps_everything(stack):
    before = points(stack)
    runs = {run["runId"] for run in stack.ui.runs()}
    stack.timed("down", lambda: stack("down"))
    began = time.time()
    stack.timed("up again", lambda: stack("up", "--detach"))
    stack.wait_until_healthy()
    wait_for_point(stack, began)
    stack.times["up again, until the first point"] = time.time() - began
    assert before
    assert set(before) <= set(points(stack))
    assert runs <= {run["runId"] for run in stack.ui.runs()}
    wait_until_nothing_is_missing(stack)


def test_down_with_its_volumes_leaves_nothing(stack):
    stack.timed("down --volumes", lambda: stack("down", "--volumes"))
    assert stack.leftovers() == []
    print("\n" + "\n".join(f"  {seconds:6.1f} s  {what}" for what, seconds in stack.times.items()))
