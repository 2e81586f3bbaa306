"""The command line as a person and a program run it: a process of its own, against a database of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EMM = Path(sys.executable).with_name("emm")
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def emm(postgres, config_url, tmp_path) -> Run:
    """Run `emm ARGUMENT…` against a fresh configuration database; keywords are variables."""

    def run(*arguments, stdin: str | bytes = "", **environment: str) -> subprocess.CompletedProcess[str]:
        settings = {
            "POSTGRES_HOST": str(postgres.socket_dir),
            "POSTGRES_PORT": "5432",
            "POSTGRES_USER": "postgres",
            "POSTGRES_DB": str(config_url.database),
            "READINGS_STORE": "postgresql",
            "OUTBOX_DIR": str(tmp_path / "outbox"),
        }
        done = subprocess.run(
            [EMM, *map(str, arguments)],
            capture_output=True,
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            check=False,
            env={**os.environ, **settings, **environment},
            timeout=60,
        )
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    return run
