"""The stack under attack (`make test-stack`). Its volumes are those of the stack of commit 6e50f05.

That stack accepted the published credentials. The tests share one stack and depend on their order.
Without an image registry tests/support/grafana_api.py simulates Grafana; InfluxDB, Redis and Caddy are Debian's.
"""

import base64
import json
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.compose import ComposeStack, docker
from support.dagster_ui import wait_for

from emm_pipeline.credentials import EXAMPLES, PUBLISHED
from emm_pipeline.settings import PROJECT_ROOT

pytestmark = [pytest.mark.stack]

HERE = Path(__file__).parent
PROJECT = "emm-test-security"
BEFORE = "6e50f05"
POINT_TIMEOUT_S = 180
PORTS = {"postgres": 5432, "influxdb": 8086, "webserver": 3001, "code": 4000, "grafana": 3000}


@pytest.fixture(scope="module")
def stack() -> Iterator[ComposeStack]:
    engine = subprocess.run(["docker", "info"], capture_output=True, text=True, check=False)
    assert engine.returncode == 0, f"a Docker engine is needed: {engine.stderr}"
    stack = ComposeStack(PROJECT, HERE / "sampling.yml")
    stack.remove()
    try:
        yield stack
    finally:
        stack.remove()


@pytest.fixture(scope="module")
def before(stack, tmp_path_factory) -> ComposeStack:
    """The stack of the older commit, which has polled; its containers are removed, its volumes exist."""
    checkout = tmp_path_factory.mktemp("before")
    archive = subprocess.run(["git", "archive", BEFORE], cwd=PROJECT_ROOT, capture_output=True, check=False)
    if archive.returncode:
        pytest.skip(f"this clone does not have the commit {BEFORE}: git fetch --unshallow")
    subprocess.run(["tar", "-x", "-C", checkout], input=archive.stdout, check=True)
    stand_ins = HERE / f"stand_ins_{BEFORE}.yml"
    stack("build")  # queries are made with this image
    old = ComposeStack(PROJECT, HERE / "sampling.yml", root=checkout, stand_ins=stand_ins, network="default")
    old.timed("the stack before: build and start", lambda: old("up", "--build", "--detach"))
    wait_for_points(old, 0)
    for user, password in (("emm", PUBLISHED["POSTGRES_PASSWORD"]), ("emm", "wrong")):
        expected = "refused" if password == "wrong" else "in as emm"
        assert in_network(old, "default", _LOGS_IN, "postgres", user, password).strip() == expected
    assert grafana_accepts(old, "default", PUBLISHED["GF_SECURITY_ADMIN_PASSWORD"])
    old("down", "--remove-orphans")
    return old


@pytest.fixture(scope="module")
def upgraded(stack, before) -> ComposeStack:
    """The upgraded stack, as in docs/operation.md: the new checkout, and `up --build`."""
    stack.timed("the upgrade, until docker-compose returns", lambda: stack("up", "--build", "--detach"))
    stack.log_in()
    return stack


PASSWORD, TOKEN = "DOCKER_INFLUXDB_INIT_PASSWORD", "DOCKER_INFLUXDB_INIT_ADMIN_TOKEN"
_LOGS_IN = """
import psycopg2, sys
try:
    connection = psycopg2.connect(host=sys.argv[1], dbname="emm", user=sys.argv[2], password=sys.argv[3])
    print("in as", sys.argv[2])
except psycopg2.OperationalError as err:
    print("refused" if "authentication failed" in str(err) else err)
"""
_CONNECTS = """
import socket, sys
from concurrent.futures import ThreadPoolExecutor

def opens(place):
    host, port = place.split(":")
    try:
        socket.create_connection((host, int(port)), 5).close()
    except OSError:
        return False
    return True

places = sys.argv[1:]
with ThreadPoolExecutor(len(places)) as pool:
    print(*(place for place, is_open in zip(places, pool.map(opens, places)) if is_open), end="")
"""


def in_network(stack: ComposeStack, network: str, code: str, *arguments: str) -> str:
    """Return what a Python program prints in a container of one of the stack's networks."""
    name = f"{stack.project}_{network}"
    return docker(
        "run", "--rm", "--network", name, "--entrypoint", "python", f"{stack.project}-pipeline", "-c", code, *arguments
    )


_ASKS_GRAFANA = """
import base64, sys, urllib.request, urllib.error
login = base64.b64encode(f"admin:{sys.argv[1]}".encode()).decode()
request = urllib.request.Request("http://grafana:3000/api/user", headers={"Authorization": f"Basic {login}"})
try:
    print(urllib.request.urlopen(request, timeout=9).status)
except urllib.error.HTTPError as err:
    print(err.code)
"""
_ASKS_REDIS = """
import redis, sys
try:
    print(redis.Redis("redis", password=sys.argv[1] or None, socket_timeout=9).ping())
except redis.AuthenticationError:
    print("refused")
"""


def grafana_accepts(stack: ComposeStack, network: str, password: str) -> bool:
    answer = in_network(stack, network, _ASKS_GRAFANA, password).strip()
    assert answer in {"200", "401"}
    return answer == "200"


def points_since(stack: ComposeStack, since: float) -> int:
    return len(stack.query(f"SELECT value FROM test_measurement WHERE time > {int(since * 1000)}ms"))


def wait_for_points(stack: ComposeStack, since: float) -> None:
    wait_for("points", lambda: points_since(stack, since) > 0, POINT_TIMEOUT_S, every_s=2)


def status_of(url: str, login: tuple[str, str] | None = None, **headers: str) -> int:
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    if login:
        request.add_header("Authorization", "Basic " + base64.b64encode(":".join(login).encode()).decode())
    unchecked = ssl._create_unverified_context()  # the proxy's certificate is its own
    try:
        with urllib.request.urlopen(request, timeout=20, context=unchecked) as answer:
            return answer.status
    except urllib.error.HTTPError as err:
        return err.code


def test_a_stack_that_was_set_up_with_the_published_credentials_continues_to_poll_after_the_upgrade(upgraded):
    began = time.time()
    upgraded.wait_until_healthy()
    wait_for_points(upgraded, began)


def test_the_upgrade_keeps_points_and_rows_of_the_stack_before(upgraded):
    times_ms = [row["time"] for row in upgraded.query("SELECT value FROM test_measurement WHERE id = '0'")]
    assert min(times_ms) < (time.time() - 60) * 1000 < max(times_ms)
    rows = upgraded("exec", "-T", "postgres", "psql", "-U", "emm", "-tA", "emm", "-c", "SELECT id FROM energy_meters")
    assert rows.split() == ["0"]


def test_no_published_credential_is_accepted_anywhere(upgraded):
    for user in ("emm", "emm_owner", "emm_pipeline", "emm_dagster", "emm_reader"):
        answer = in_network(upgraded, "storage", _LOGS_IN, "postgres", user, PUBLISHED["POSTGRES_PASSWORD"])
        assert answer.strip() == "refused"
    asks = """
import sys, urllib.request, urllib.error
for scheme in ("Token example_influxdb_token", "Token emm:example_influxdb_password"):
    request = urllib.request.Request("http://influxdb:8086/query?q=SHOW+DATABASES", headers={"Authorization": scheme})
    try:
        print(urllib.request.urlopen(request, timeout=9).status)
    except urllib.error.HTTPError as err:
        print(err.code)
"""
    assert set(in_network(upgraded, "readings", asks).split()) == {"401"}
    assert status_of(f"{upgraded.ui.url}/runs", ("admin", PUBLISHED["DAGSTER_LOGIN_PASSWORD"])) == 401
    assert not grafana_accepts(upgraded, "web", PUBLISHED["GF_SECURITY_ADMIN_PASSWORD"])
    assert grafana_accepts(upgraded, "web", upgraded.logins()["Grafana"][1])


def test_the_start_warns_of_an_engine_whose_loopback_ports_can_be_reached_and_of_no_other(upgraded):
    version = docker("version", "--format", "{{.Server.Version}}")
    is_older = int(version.partition(".")[0]) < 28
    for service in ("init", "webserver"):
        assert ("older than version 28" in upgraded("logs", service)) == is_older


def test_the_engine_limits_memory_processes_and_cpu_of_every_container(upgraded):
    limits = "{{.Name}} {{.HostConfig.Memory}} {{.HostConfig.PidsLimit}} {{.HostConfig.CpuQuota}}"
    label = f"label=com.docker.compose.project={upgraded.project}"
    for line in docker(
        "inspect", "--format", limits, *docker("ps", "--all", "-q", "--filter", label).split()
    ).splitlines():
        _, memory, processes, cpu = line.split()
        assert all(value.isdigit() and int(value) > 0 for value in (memory, processes, cpu)), line


def test_only_grafana_dagster_and_the_web_page_have_a_port_and_on_loopback_alone(upgraded):
    published = {}
    for one in upgraded.containers():
        found = {(port["URL"], port["TargetPort"]) for port in one["Publishers"] or () if port["PublishedPort"]}
        if found:
            published[one["Service"]] = found
    ports = {"grafana": 3000, "webserver": 3001, "web": 3002}
    assert published == {name: {("127.0.0.1", port)} for name, port in ports.items()}


def test_a_devices_container_reaches_its_poller_and_no_port_of_it(upgraded):
    places = [f"{name}:{port}" for name, port in PORTS.items()] + ["code-server:4000", "redis:6379"]
    addresses = docker(
        "inspect",
        "--format",
        "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}",
        *docker("ps", "--quiet", "--filter", f"label=com.docker.compose.project={upgraded.project}").split(),
    ).split()
    places += [f"{address}:{port}" for address in addresses for port in PORTS.values()]
    assert in_network(upgraded, "devices", _CONNECTS, *places) == ""
    assert in_network(upgraded, "devices", _CONNECTS, "virtual_modbustcp_server:502") != ""


def test_the_code_server_is_reached_in_its_own_network_only(upgraded):
    assert in_network(upgraded, "dagster", _CONNECTS, "code-server:4000") != ""
    for network in ("storage", "readings", "web"):
        assert in_network(upgraded, network, _CONNECTS, "code-server:4000", "code:4000") == ""


def test_dagster_asks_for_the_login_and_refuses_what_foreign_pages_ask(upgraded):
    url, login = upgraded.ui.url, upgraded.ui.login
    assert status_of(f"{url}/runs") == 401
    assert status_of(f"{url}/runs", login) == 200
    assert status_of(f"{url}/graphql?query=mutation%7Bx%7D", login) == 403
    assert status_of(f"{url}/runs", login, Origin="http://evil.example") == 403
    assert status_of(f"{url}/runs", login, Host="evil.example") == 403
    assert upgraded.ui.schedules()["poll_schedule"] == "RUNNING"


@pytest.fixture
def neighbour() -> Iterator[str]:
    """Another machine of the local network: a namespace with a route to this one's 127.0.0.1; yields its name."""
    name = "emm-neighbour"
    commands = [
        f"ip netns add {name}",
        f"ip link add emm-a type veth peer name emm-b netns {name}",
        "ip addr add 10.213.7.1/24 dev emm-a",
        "ip link set emm-a up",
        f"ip -n {name} addr add 10.213.7.2/24 dev emm-b",
        f"ip -n {name} link set emm-b up",
        f"ip netns exec {name} sysctl -qw net.ipv4.conf.all.route_localnet=1 net.ipv4.conf.emm-b.route_localnet=1",
        f"ip -n {name} route add 127.0.0.1/32 via 10.213.7.1",
    ]
    try:
        for command in commands:
            done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"network namespaces cannot be created here: {command}: {done.stderr}")
        yield name
    finally:
        subprocess.run(["ip", "link", "del", "emm-a"], capture_output=True, check=False)
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def test_a_neighbour_in_the_local_network_finds_no_database_and_dagster_asks_it_for_a_login(upgraded, neighbour):
    _, _, port = upgraded.ui.url.rpartition(":")
    code = f"""
import urllib.request, urllib.error, socket
for port in (5432, 8086, 6379, 4000):
    try:
        socket.create_connection(("127.0.0.1", port), 1)
        print("open", port)
    except OSError:
        pass
try:
    print(urllib.request.urlopen("http://127.0.0.1:{port}/runs", timeout=3).status)
except urllib.error.HTTPError as err:
    print("status", err.code)
except OSError:
    print("unreachable")
"""
    command = ["ip", "netns", "exec", neighbour, "python3", "-c", code]
    seen = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")
    print("  the neighbour sees Dagster's port as:", seen)
    assert seen[0] in {"status 401", "unreachable"}


@pytest.mark.parametrize("server", ["postgres", "influxdb", "dagster", "grafana"])
def test_polling_continues_through_three_rotations_and_the_old_credentials_are_refused(upgraded, server):
    began = time.time()
    for _ in range(3):
        before = {"postgres": files(upgraded, "postgres"), "influxdb": files(upgraded, "influxdb")}
        login, grafana = upgraded.ui.login, upgraded.logins()["Grafana"][1]
        upgraded("run", "--rm", "-T", "--no-deps", "init", "emm", "secrets", "rotate", server)
        upgraded.log_in()
        assert status_of(f"{upgraded.ui.url}/runs", upgraded.ui.login) == 200
        if server == "dagster":
            assert status_of(f"{upgraded.ui.url}/runs", login) == 401
        if server == "grafana":
            assert upgraded.logins()["Grafana"][1] != grafana
            assert grafana_accepts(upgraded, "web", upgraded.logins()["Grafana"][1])
        if server == "postgres":
            old = before["postgres"]["POSTGRES_PASSWORD"]
            assert in_network(upgraded, "storage", _LOGS_IN, "postgres", "emm", old).strip() == "refused"
        if server == "influxdb":
            assert files(upgraded, "influxdb")[PASSWORD] != before["influxdb"][PASSWORD]
        if server == "influxdb" and upgraded.has_stand_ins:
            upgraded("restart", "influxdb")  # the stand-in reads its table of tokens when it starts
            upgraded.wait_until_healthy()
        wait_for_points(upgraded, time.time())
    if server == "grafana":  # once: after five wrong logins within five minutes Grafana refuses even the right one
        assert not grafana_accepts(upgraded, "web", grafana)
    failed = [run for run in upgraded.ui.runs(statuses=["FAILURE"]) if run["creationTime"] >= began]
    if server != "influxdb":  # while the stand-in for InfluxDB restarts, points wait in the outbox
        assert not failed, [(run["jobName"], upgraded.ui.failure(run["runId"])) for run in failed]


@pytest.fixture(scope="module")
def with_profiles(upgraded) -> ComposeStack:
    """The same stack with Celery and the proxy, all runs executed by Celery's worker."""
    stack = ComposeStack(PROJECT, HERE / "sampling.yml", HERE / "celery.yml")
    stack("--profile", "celery", "--profile", "proxy", "up", "--build", "--detach")
    stack.log_in()
    stack.wait_until_healthy()
    return stack


def test_no_profile_opens_anything_with_a_published_credential(with_profiles):
    for password in ("", *sorted(EXAMPLES)):
        assert in_network(with_profiles, "broker", _ASKS_REDIS, password).strip() == "refused"
    for what, page in (("DAGSTER_PROXY", "runs"), ("GRAFANA_PROXY", "api/user")):
        url = f"{with_profiles.url_of(what).replace('127.0.0.1', 'localhost')}/{page}"
        assert status_of(url) == 401
        # One attempt is enough for Grafana, which refuses even the right password after five wrong ones.
        examples = EXAMPLES if what == "DAGSTER_PROXY" else {PUBLISHED["GF_SECURITY_ADMIN_PASSWORD"]}
        for example in sorted(examples):
            assert status_of(url, ("admin", example)) == 401
        assert status_of(url, with_profiles.logins()[what.partition("_")[0].capitalize()]) == 200


def test_celerys_workers_poll_and_continue_after_the_password_of_redis_was_rotated(with_profiles):
    wait_for_points(with_profiles, time.time())
    celery = ("--profile", "celery")
    for _ in range(3):
        old = files(with_profiles, "redis")["REDIS_PASSWORD"]
        with_profiles("run", "--rm", "-T", "--no-deps", "init", "emm", "secrets", "rotate", "redis")
        assert in_network(with_profiles, "broker", _ASKS_REDIS, old).strip() == "refused"
        assert (
            in_network(with_profiles, "broker", _ASKS_REDIS, files(with_profiles, "redis")["REDIS_PASSWORD"]).strip()
            == "True"
        )
        with_profiles(*celery, "restart", "worker", "daemon", "webserver")
        with_profiles.wait_until_healthy()
        wait_for_points(with_profiles, time.time())
    with_profiles(*celery, "restart", "redis")
    with_profiles.wait_until_healthy()
    assert (
        in_network(with_profiles, "broker", _ASKS_REDIS, files(with_profiles, "redis")["REDIS_PASSWORD"]).strip()
        == "True"
    )
    wait_for_points(with_profiles, time.time())


def files(stack: ComposeStack, service: str) -> dict[str, str]:
    """Return the credentials in a service's folder."""
    code = "import json, pathlib; print(json.dumps({f.name: f.read_text() for f in pathlib.Path('/access').iterdir()}))"
    volume = f"{stack.project}_{service}-access:/access:ro"
    return json.loads(
        docker("run", "--rm", "--volume", volume, "--entrypoint", "python", f"{stack.project}-pipeline", "-c", code)
    )
