"""Dagster's own commands in a checkout: `dg check defs`, `dg list defs` and `dagster dev`."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.dagster_ui import DagsterUI, wait_for
from support.ports import free_port

from emm_pipeline.cli.demo.processes import answers
from emm_pipeline.settings import PROJECT_ROOT

BIN = Path(sys.executable).parent

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(240)]


def dg(*words):
    """Run a command of dg in the checkout."""
    done = subprocess.run(
        [BIN / "dg", *words], cwd=PROJECT_ROOT, capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_dg_accepts_the_definitions():
    assert "All definitions loaded successfully" in dg("check", "defs")


def test_dg_lists_the_assets_jobs_and_schedules():
    found = json.loads(dg("list", "defs", "--json"))
    keys = {each["asset_key"] for each in found["assets"]}
    assert {"meter_readings", "energy_meters", "registers", "catalogue"} <= keys
    assert {"poll", "discovery", "prune", "replay"} <= {each["name"] for each in found["jobs"]}
    assert {"poll_schedule", "discovery_schedule", "prune_schedule"} <= {each["name"] for each in found["schedules"]}


def test_dagster_dev_starts_webserver_daemon_and_code_server_and_executes_runs(pipeline, tmp_path):
    """The fixture `pipeline` sets POSTGRES_* and DAGSTER_HOME."""
    port = free_port()
    command = [BIN / "dagster", "dev", "--host", "127.0.0.1", "--port", str(port)]
    with (tmp_path / "dev.log").open("wb") as log:
        dev = subprocess.Popen(
            command, cwd=PROJECT_ROOT, env=dict(os.environ), stdout=log, stderr=log, start_new_session=True
        )
        try:
            ui = DagsterUI(f"http://127.0.0.1:{port}")
            wait_for("the webserver", lambda: answers(f"{ui.url}/server_info"), 150)
            assert ui.wait_for_run(ui.launch("discovery"), 120)["status"] == "SUCCESS"
        finally:
            os.killpg(dev.pid, signal.SIGTERM)
            try:
                dev.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(dev.pid, signal.SIGKILL)
