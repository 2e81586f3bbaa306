"""Run the project's docker-compose.yml in a real engine, under its own project name and ports."""

import json
import os
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from dotenv import dotenv_values
from support.dagster_ui import DagsterUI, wait_for
from support.ports import free_port

from emm_pipeline.settings import PROJECT_ROOT

STAND_IN = "emm-test/influxdb:v1"
"""An InfluxDB 1.6 that takes the variables of influxdb:2, for machines that reach no image registry."""

GRAFANA_DOUBLE = Path(__file__).with_name("grafana_api.py")
ONCE = ("credentials", "check", "init", "grafana-login")
PORTS = ("GRAFANA", "DAGSTER", "WEB", "GRAFANA_PROXY", "DAGSTER_PROXY", "WEB_PROXY", "POSTGRES", "INFLUXDB", "REDIS")
PROFILES = ("backup", "celery", "mqtt", "proxy")
COMMAND_TIMEOUT_S = 900
_ASK_INFLUXDB = """
import pathlib, sys, urllib.request
token = pathlib.Path("/access/influxdb_token").read_text()
request = urllib.request.Request(sys.argv[1], headers={"Authorization": f"Token {token}"})
print(urllib.request.urlopen(request, timeout=20).read().decode())
"""
HEALTH_TIMEOUT_S = 300

T = TypeVar("T")


def docker(*arguments: str) -> str:
    """Return the output of a docker command."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
    return done.stdout


class ComposeStack:
    """The stack under one project name; `times` contains the duration of each step in seconds.

    Args:
        project: the project name.
        overrides: further compose files.
        root: the checkout with the compose file.
        stand_ins: replacements for images on a machine without an image registry.
        network: a network in which InfluxDB can be reached.
    """

    def __init__(
        self,
        project: str,
        *overrides: Path,
        root: Path = PROJECT_ROOT,
        stand_ins: Path = PROJECT_ROOT / "tests" / "deployment" / "stand_ins.yml",
        network: str = "readings",
    ) -> None:
        self.project, self._root, self._network = project, root, network
        self.times: dict[str, float] = {}
        self.has_stand_ins = bool(docker("image", "ls", "--quiet", STAND_IN).strip())
        files = [root / "docker-compose.yml", *overrides]
        if self.has_stand_ins:
            files.append(stand_ins)
        self._command = ["docker-compose", "--project-name", project]
        self._command += [part for file in files for part in ("--file", str(file))]
        self._ports = {name: free_port() for name in PORTS}
        self._environment = {**os.environ, **{f"{name}_PUBLISHED_PORT": str(p) for name, p in self._ports.items()}}
        self._environment |= {"EMM_PROXY_BIND": "127.0.0.1", "GRAFANA_DOUBLE": str(GRAFANA_DOUBLE)}
        if self.has_stand_ins:
            self._environment["INFLUXDB_IMAGE"] = STAND_IN
        self.settings = dotenv_values(PROJECT_ROOT / "config" / ".env.dev")
        self.ui = DagsterUI(self.url_of("DAGSTER"))

    def url_of(self, name: str) -> str:
        """Return the URL of a published port: GRAFANA, DAGSTER, and with TLS GRAFANA_PROXY, DAGSTER_PROXY."""
        scheme = "https" if name.endswith("_PROXY") else "http"
        return f"{scheme}://127.0.0.1:{self._ports[name]}"

    def __call__(self, *arguments: str, **variables: str) -> str:
        """Return the output of a docker-compose command with these variables; fail with its errors."""
        done = subprocess.run(
            [*self._command, *arguments],
            cwd=self._root,
            env={**self._environment, **variables},
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, f"docker-compose {' '.join(arguments)}:\n{(done.stdout + done.stderr)[-4000:]}"
        return done.stdout

    def remove(self) -> None:
        """Remove every container, including those of profiles, and every volume and network."""
        profiles = [part for profile in PROFILES for part in ("--profile", profile)]
        self(*profiles, "down", "--volumes", "--remove-orphans", "--timeout", "10")

    def timed(self, what: str, do: Callable[[], T]) -> T:
        """Call a function, and record its duration."""
        began = time.monotonic()
        result = do()
        self.times[what] = time.monotonic() - began
        print(f"  {self.times[what]:6.1f} s  {what}", flush=True)
        return result

    def containers(self) -> list[dict[str, Any]]:
        """Return the project's containers, including exited ones, with Service, State, Health and ExitCode."""
        return [json.loads(line) for line in self("ps", "--all", "--format", "json").splitlines()]

    def wait_until_healthy(self) -> None:
        """Wait until every service is healthy, and those that run once have ended successfully."""

        def is_ready(one: dict[str, Any]) -> bool:
            if one["Service"] in ONCE:
                return one["State"] == "exited" and one["ExitCode"] == 0
            return one["Health"] == "healthy"

        waiting: list[str] = []

        def all_are_ready() -> bool:
            waiting[:] = [f"{one['Service']} ({one['Status']})" for one in self.containers() if not is_ready(one)]
            return not waiting

        try:
            wait_for("every service to be healthy", all_are_ready, HEALTH_TIMEOUT_S, every_s=1)
        except AssertionError as err:
            raise AssertionError(f"{err}; not healthy: {', '.join(waiting)}") from None

    def query(self, influxql: str) -> list[dict[str, Any]]:
        """Return the rows of an InfluxQL query; `time` in milliseconds."""
        # From within the stack: InfluxDB publishes no port. Grafana's token may read.
        fields = {"db": self.settings["INFLUXDB_BUCKET"], "q": influxql, "epoch": "ms"}
        path = f"/query?{urllib.parse.urlencode(fields)}"
        network = f"{self.project}_{self._network}"
        volume = f"{self.project}_grafana-access"
        answer = docker(
            "run",
            "--rm",
            "--network",
            network,
            "--volume",
            f"{volume}:/access:ro",
            "--entrypoint",
            "python",
            f"{self.project}-pipeline",
            "-c",
            _ASK_INFLUXDB,
            f"http://influxdb:8086{path}",
        )
        (result,) = json.loads(answer)["results"]
        assert "error" not in result, result
        return [
            dict(zip(series["columns"], values, strict=True))
            for series in result.get("series", [])
            for values in series["values"]
        ]

    def logins(self) -> dict[str, tuple[str, str]]:
        """Return user and password of Grafana and Dagster, as `emm settings --show-secrets` prints them."""
        shown = self("run", "--rm", "-T", "--no-deps", "check", "emm", "settings", "--show-secrets", "--json")
        return {login["what"]: (login["user"], login["password"]) for login in json.loads(shown)}

    def log_in(self) -> None:
        """Make `ui` use Dagster's present login."""
        self.ui.login = self.logins()["Dagster"]

    def leftovers(self) -> list[str]:
        """Return every container, volume and network with the project's name."""
        label = f"label=com.docker.compose.project={self.project}"
        found = docker("ps", "--all", "--filter", label, "--format", "container {{.Names}}")
        found += docker("volume", "ls", "--filter", label, "--format", "volume {{.Name}}")
        found += docker("network", "ls", "--filter", label, "--format", "network {{.Name}}")
        return found.splitlines()
