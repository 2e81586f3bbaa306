"""A real InfluxDB for tests: Debian's InfluxDB 1.6, and nginx in front for the write API of 2.x.

A folder of the same name holds the configuration files. The fixture `influxdb` starts both once per test session,
on free loopback ports. `influxdb_1_8` is an InfluxDB 1.8.10, which has this API itself; `.ci/run` builds it if `go` is
installed, and otherwise the fixture is the other server.
"""

import base64
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.ports import free_port

TEMPLATES = Path(__file__).with_suffix("")
INSTALL = "apt-get install influxdb nginx-light libnginx-mod-http-set-misc"
USER, PASSWORD, DATABASE = "emm", "emm-password", "emm"
START_TIMEOUT_S = 20.0
INFLUXD_1_8 = Path(os.environ.get("EMM_INFLUXD_1_8") or Path.home() / ".cache" / "emm-tests" / "influxd")
"""InfluxDB 1.8.10, as `.ci/run` builds it."""

_skipped = pytest.StashKey[str]()
_older = pytest.StashKey[str]()


class ServerMissingError(Exception):
    """A program that the tests need is not installed."""


class InfluxDB:
    """A running InfluxDB with the user `emm` (an administrator) and the database `emm`.

    Attributes:
        url: URL of InfluxDB's HTTP API, through nginx.
        token: `user:password`, the form of InfluxDB 1.8.
        bucket: `database/retention policy`.
        day_bucket: a bucket whose retention policy keeps points for a day.
        org: ignored by InfluxDB 1.x.

    Args:
        folder: for data, logs and configuration.
        influxd: a program with the write API of 2.x, which needs no nginx; default: Debian's.
    """

    token = f"{USER}:{PASSWORD}"
    org = "emm"
    bucket = f"{DATABASE}/autogen"
    day_bucket = f"{DATABASE}/day"

    def __init__(self, folder: Path, influxd: Path | None = None) -> None:
        programs = None if influxd else _find_programs()
        self._influxd_port, rpc_port, port = (free_port() for _ in range(3))
        self.url = f"http://127.0.0.1:{port if programs else self._influxd_port}"
        self._folder = folder
        values = {
            "FOLDER": str(folder),
            "INFLUXD_PORT": str(self._influxd_port),
            "MODULES": str(programs.nginx_modules) if programs else "",
            "PORT": str(port),
            "RPC_PORT": str(rpc_port),
            # if root started nginx, its worker would run as a user that cannot read the folder
            "USER": "user root;" if os.geteuid() == 0 else "",
        }
        influxd_conf = _fill_in("influxdb.conf", folder, values)
        nginx_conf = _fill_in("nginx.conf", folder, values)
        self._influxd_command = [programs.influxd if programs else str(influxd), "-config", str(influxd_conf)]
        self._influxd = self._spawn(self._influxd_command, "influxd.log")
        self._nginx: subprocess.Popen[bytes] | None = None
        if programs:
            self._nginx = self._spawn([programs.nginx, "-e", "stderr", "-c", str(nginx_conf)], "nginx.log")
        try:
            self._set_up()
        except BaseException:
            self.close()
            raise

    def create_database(self, name: str) -> str:
        """Create an empty database; return its bucket."""
        self._statement(f'DROP DATABASE "{name}"')
        self._statement(f'CREATE DATABASE "{name}"')
        return f"{name}/autogen"

    def create_user(self, name: str, password: str) -> str:
        """Create a user without any privilege; return the token."""
        self._statement(f"CREATE USER {name} WITH PASSWORD '{password}'")
        return f"{name}:{password}"

    def write(self, lines: str, bucket: str | None = None) -> None:
        """Write line protocol as it is, with timestamps in milliseconds."""
        query = urllib.parse.urlencode({"org": self.org, "bucket": bucket or self.bucket, "precision": "ms"})
        request = urllib.request.Request(f"{self.url}/api/v2/write?{query}", data=lines.encode())
        request.add_header("Authorization", f"Token {self.token}")
        urllib.request.urlopen(request, timeout=START_TIMEOUT_S).close()

    def query(self, influxql: str, bucket: str | None = None) -> list[dict[str, Any]]:
        """Return the rows of an InfluxQL query, each with its columns, its tags (GROUP BY), and `measurement`.

        `time` is in milliseconds since 1970.
        """
        database, _, policy = (bucket or self.bucket).partition("/")
        series = self._statement(influxql, db=database, rp=policy).get("series", [])
        return [
            {"measurement": one.get("name")} | one.get("tags", {}) | dict(zip(one["columns"], values, strict=True))
            for one in series
            for values in one["values"]
        ]

    def pids(self) -> list[int]:
        """Return the process ids of influxd and nginx."""
        return [process.pid for process in (self._influxd, self._nginx) if process]

    def stop(self) -> None:
        """End influxd with SIGTERM; nginx continues to run and answers 502."""
        self._influxd.terminate()
        self._influxd.wait(START_TIMEOUT_S)

    def kill(self) -> None:
        """Kill influxd; nginx continues to run and answers 502."""
        self._influxd.kill()
        self._influxd.wait(START_TIMEOUT_S)

    def start(self) -> None:
        """Start influxd again with its data, if it does not run."""
        if self._influxd.poll() is not None:
            self._influxd = self._spawn(self._influxd_command, "influxd.log")
            self._wait_for_influxd()

    def close(self) -> None:
        """Ends both servers."""
        processes = [process for process in (self._nginx, self._influxd) if process]
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(START_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _set_up(self) -> None:
        self._wait_for_influxd()
        # the first user can be created without authentication, and must be an administrator
        self._statement(f"CREATE USER {USER} WITH PASSWORD '{PASSWORD}' WITH ALL PRIVILEGES", authorized=False)
        self.create_database(DATABASE)
        self._statement(f"CREATE RETENTION POLICY day ON {DATABASE} DURATION 1d REPLICATION 1")
        self._wait_for_nginx()

    def _spawn(self, command: list[str], log: str) -> subprocess.Popen[bytes]:
        with (self._folder / log).open("ab") as output:
            return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=self._folder)

    def _statement(self, influxql: str, *, authorized: bool = True, **parameters: str) -> dict[str, Any]:
        query = urllib.parse.urlencode({"q": influxql, "epoch": "ms"} | parameters).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self._influxd_port}/query", data=query)
        if authorized:
            request.add_header("Authorization", "Basic " + base64.b64encode(self.token.encode()).decode())
        with urllib.request.urlopen(request, timeout=START_TIMEOUT_S) as answer:
            result = json.load(answer)["results"][0]
        if "error" in result:
            raise ValueError(f"{influxql}: {result['error']}")
        return result

    def _wait_for_influxd(self) -> None:
        self._wait_for(f"http://127.0.0.1:{self._influxd_port}/ping", self._influxd, "influxd.log")

    def _wait_for_nginx(self) -> None:
        if self._nginx:
            self._wait_for(f"{self.url}/ping", self._nginx, "nginx.log")

    def _wait_for(self, url: str, process: subprocess.Popen[bytes], log: str) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while process.poll() is None and time.monotonic() < deadline:
            try:
                urllib.request.urlopen(url, timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise RuntimeError(f"{url} does not answer; the log says: {(self._folder / log).read_text()[-2000:]}")


class _Programs:
    def __init__(self, influxd: str, nginx: str, nginx_modules: Path) -> None:
        self.influxd = influxd
        self.nginx = nginx
        self.nginx_modules = nginx_modules


def _find_programs() -> _Programs:
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/bin"])
    influxd, nginx = shutil.which("influxd", path=path), shutil.which("nginx", path=path)
    if influxd is None or nginx is None:
        raise ServerMissingError("influxd or nginx is not installed")
    built = subprocess.run([nginx, "-V"], capture_output=True, text=True, check=True).stderr
    configured = re.search(r"--modules-path=(\S+)", built)
    modules = Path(configured[1] if configured else "/usr/lib/nginx/modules")
    if not (modules / "ngx_http_set_misc_module.so").exists():
        raise ServerMissingError("nginx's module set-misc is not installed")
    return _Programs(influxd, nginx, modules)


def _fill_in(name: str, folder: Path, values: dict[str, str]) -> Path:
    template = (TEMPLATES / f"{name}.template").read_text()
    target = folder / name
    target.write_text(re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], template))
    return target


@pytest.fixture(scope="session")
def influxdb(request: pytest.FixtureRequest) -> Iterator[InfluxDB]:
    """A real InfluxDB; tests that use it are skipped if it is not installed."""
    with tempfile.TemporaryDirectory(prefix="emm-influxdb-") as folder:
        try:
            server = InfluxDB(Path(folder))
        except ServerMissingError as error:
            reason = f"{error}: {INSTALL}"
            if os.environ.get("EMM_REQUIRE_SERVERS") == "1":
                pytest.fail(reason)
            request.config.stash[_skipped] = reason
            pytest.skip(reason)
        try:
            yield server
        finally:
            server.close()


@pytest.fixture(scope="session")
def influxdb_1_8(request: pytest.FixtureRequest) -> Iterator[InfluxDB]:
    """An InfluxDB 1.8.10 if it was built, else the fixture `influxdb`."""
    if not INFLUXD_1_8.exists():
        request.config.stash[_older] = f"{INFLUXD_1_8} does not exist: see .ci/run"
        yield request.getfixturevalue("influxdb")
        return
    with tempfile.TemporaryDirectory(prefix="emm-influxdb-") as folder:
        server = InfluxDB(Path(folder), INFLUXD_1_8)
        try:
            yield server
        finally:
            server.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Report once that no test was run against a real InfluxDB."""
    if reason := config.stash.get(_skipped, None):
        terminalreporter.section("not tested against InfluxDB")
        terminalreporter.line(reason)
    if reason := config.stash.get(_older, None):
        terminalreporter.section("tested against InfluxDB 1.6 instead of 1.8")
        terminalreporter.line(reason)
