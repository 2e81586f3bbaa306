"""Operation of the stack in a real Docker (`make test-stack`): profiles, changed settings, backup and restore."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from support.compose import ComposeStack, docker
from support.dagster_ui import wait_for

pytestmark = [pytest.mark.stack]

HERE = Path(__file__).parent
PROJECT = "emm-test-operation"
FIRST_POINT_TIMEOUT_S = 180
UNTOUCHED = ("postgres", "influxdb", "virtual_modbustcp_server")
_DIGESTS = """
import hashlib, pathlib
root = pathlib.Path("/data")
for path in sorted(root.rglob("*")):
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    print(path.relative_to(root), path.stat().st_uid, path.stat().st_mode, digest)
"""


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest) -> Iterator[ComposeStack]:
    engine = subprocess.run(["docker", "info"], capture_output=True, text=True, check=False)
    assert engine.returncode == 0, f"a Docker engine is needed: {engine.stderr}"
    stack = ComposeStack(PROJECT, HERE / "sampling.yml")
    stack.remove()
    failed_before = request.session.testsfailed
    try:
        began = time.time()
        stack("up", "--build", "--detach")
        stack.log_in()
        wait_for("a point", lambda: points(stack, began), FIRST_POINT_TIMEOUT_S, every_s=1)
        stack.wait_until_healthy()
        yield stack
    finally:
        if request.session.testsfailed > failed_before:
            print(stack("logs", "--tail", "60"))
        stack.remove()


def points(stack: ComposeStack, since: float = 0) -> list[int]:
    rows = stack.query(f"SELECT value FROM test_measurement WHERE id = '0' AND time > {int(since * 1000)}ms")
    return [row["time"] for row in rows]


def started(stack: ComposeStack) -> dict[str, str]:
    """Return id and time of start of each running container."""
    names = docker("ps", "--quiet", "--filter", f"label=com.docker.compose.project={stack.project}").split()
    form = '{{index .Config.Labels "com.docker.compose.service"}}={{.Id}} {{.State.StartedAt}}'
    return dict(docker("inspect", "--format", form, name).strip().split("=", 1) for name in names)


def sql(stack: ComposeStack, statement: str) -> str:
    return stack("exec", "-T", "postgres", "psql", "-U", "emm", "emm", "-Atc", statement).strip()


def test_a_changed_setting_recreates_only_what_uses_it(stack, tmp_path):
    """A line in config/.env changes the environment of the services with env_file, as this override does."""
    services = yaml.safe_load((HERE.parents[1] / "docker" / "stack.yml").read_text())["services"]
    with_env_file = [name for name, one in services.items() if "env_file" in one and "profiles" not in one]
    override = tmp_path / "changed.yml"
    changed = {name: {"environment": {"STATUS_INTERVAL_S": "600"}} for name in with_env_file}
    override.write_text(yaml.safe_dump({"services": changed}))
    before = started(stack)
    other = ComposeStack(PROJECT, HERE / "sampling.yml", override)
    other._ports, other._environment = stack._ports, stack._environment
    other("up", "--detach")
    stack.wait_until_healthy()
    after = started(stack)
    assert {name: after[name] for name in UNTOUCHED} == {name: before[name] for name in UNTOUCHED}
    assert after["code"] != before["code"]
    stack("up", "--detach")
    stack.wait_until_healthy()


def test_stop_and_down_take_the_services_of_profiles_along(stack):
    stack("up", "--detach", COMPOSE_PROFILES="proxy")
    assert "proxy" in started(stack)
    stack("stop", COMPOSE_PROFILES="proxy")
    assert started(stack) == {}
    stack("down", COMPOSE_PROFILES="proxy")
    assert [name for name in stack.leftovers() if not name.startswith("volume ")] == []
    stack("up", "--detach")
    stack.wait_until_healthy()


def test_a_stack_that_lost_all_volumes_has_everything_after_a_restore(stack, tmp_path):
    folder = {"BACKUP_DIR": str(tmp_path)}
    sql(stack, "INSERT INTO registers VALUES ('mine', 7, 'm', 'V', 3, 4, 2, 2)")
    sql(stack, "INSERT INTO energy_meters VALUES (77, '192.0.2.1', 502, 1, 'mine', 'an äöü meter')")
    logins = stack.logins()
    stack("stop", "grafana")  # so that its files do not change after the backup
    stack("run", "--rm", "-T", "backup", "emm", "backup", "/backups/emm.zip", **folder)
    known, meters = points(stack), sql(stack, "SELECT * FROM energy_meters ORDER BY id")
    grafana = in_volume(stack, "grafana", _DIGESTS)
    assert known
    stack.remove()
    assert stack.leftovers() == []

    stack("run", "--rm", "-T", "backup", "emm", "restore", "/backups/emm.zip", **folder)
    assert in_volume(stack, "grafana", _DIGESTS) == grafana
    began = time.time()
    stack("up", "--detach", **folder)
    stack.wait_until_healthy()
    if stack.has_stand_ins:
        stack("restart", "influxdb")  # the stand-in reads its table of tokens when it starts
        stack.wait_until_healthy()
    assert stack.logins() == logins
    assert sql(stack, "SELECT * FROM energy_meters ORDER BY id") == meters
    stack.log_in()
    wait_for("new points", lambda: points(stack, began), FIRST_POINT_TIMEOUT_S, every_s=1)
    assert set(known) <= set(points(stack))


def in_volume(stack: ComposeStack, volume: str, code: str) -> str:
    mount = f"{stack.project}_{volume}:/data:ro"
    image = f"{stack.project}-pipeline"
    return docker("run", "--rm", "--user", "0", "--volume", mount, "--entrypoint", "python", image, "-c", code)
