"""`emm …` as a process, with or without a configuration database."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from emm_pipeline.cli.processes import free_port

EMM = Path(sys.executable).with_name("emm")


class CommandLine:
    """Runs `emm` with these settings."""

    def __init__(self, settings):
        self.settings = settings

    def __call__(self, *arguments, **environment):
        return subprocess.run(
            [EMM, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **self.settings, **environment},
            timeout=120,
        )

    def start(self, *arguments):
        return subprocess.Popen(
            [EMM, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **self.settings},
        )


@pytest.fixture
def emm_alone():
    """The command line where no database answers."""
    return CommandLine({"POSTGRES_HOST": "127.0.0.1", "POSTGRES_PORT": str(free_port()), "POSTGRES_DB": "emm"})


@pytest.fixture
def emm_with_database(postgres, config_url, tmp_path):
    """The command line and a fresh configuration database."""
    return CommandLine(
        {
            "POSTGRES_HOST": str(postgres.socket_dir),
            "POSTGRES_PORT": "5432",
            "POSTGRES_USER": "postgres",
            "POSTGRES_DB": str(config_url.database),
            "READINGS_STORE": "postgresql",
            "OUTBOX_DIR": str(tmp_path / "outbox"),
        }
    )
