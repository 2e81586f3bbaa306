"""Runs are forked from a process that has imported everything; if it can't, they import by themselves."""

import multiprocessing
import subprocess
import sys

import pytest

from emm_pipeline.dagster_ext import run_processes

pytestmark = pytest.mark.skipif(not run_processes.IS_SAFE, reason="runs are forked on Linux only")


def report(queue) -> None:
    """Runs in a forked process."""
    queue.put([name for name in ("pandas", "emm_pipeline.definitions", "influxdb_client") if name in sys.modules])


def test_a_run_finds_everything_imported():
    run_processes.have_fork_server()
    context = run_processes._context()
    queue = context.Queue()
    run = context.Process(target=report, args=[queue])
    run.start()
    assert queue.get(timeout=60) == ["pandas", "emm_pipeline.definitions", "influxdb_client"]
    run.join(10)
    assert run.exitcode == 0
    multiprocessing.forkserver._forkserver._stop()


def test_it_is_one_thread_without_a_connection_that_is_forked():
    """Beside OpenBLAS's own, which end before each fork."""
    program = (
        "import threading, emm_pipeline.dagster_ext.fork_server, psutil; "
        "print(threading.active_count(), len(psutil.Process().net_connections('all')))"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout.split() == ["1", "0"], said.stderr


def test_definitions_that_cannot_be_imported_there_let_runs_start_all_the_same(monkeypatch, caplog):
    def fail():
        raise ZeroDivisionError("a setting that is wrong")

    monkeypatch.setattr(run_processes, "import_all", fail)
    monkeypatch.delitem(sys.modules, "emm_pipeline.dagster_ext.fork_server", raising=False)
    import emm_pipeline.dagster_ext.fork_server  # noqa: F401

    assert "a setting that is wrong" in caplog.text
