"""Runs are forked from a process that has imported everything; if it cannot import, runs import by themselves."""

import multiprocessing
import subprocess
import sys

import pytest

from emm_pipeline.dagster_ext import run_processes

pytestmark = pytest.mark.skipif(not run_processes.CAN_FORK, reason="runs are forked on Linux only")

EXPECTED = ["pandas", "emm_pipeline.definitions", "influxdb_client"]


def report(queue) -> None:
    """Runs in a forked process."""
    queue.put([name for name in EXPECTED if name in sys.modules])


def test_a_run_finds_everything_imported(monkeypatch):
    monkeypatch.setattr(run_processes, "set_run_process_context", lambda _: None)
    run_processes.fork_run_processes("emm_pipeline.preload")
    run_processes.ensure_fork_server()
    context = run_processes.fork_context()
    queue = context.Queue()
    run = context.Process(target=report, args=[queue])
    run.start()
    assert queue.get(timeout=60) == EXPECTED
    run.join(60)
    assert run.exitcode == 0
    multiprocessing.forkserver._forkserver._stop()
    context.set_forkserver_preload([])


def test_the_process_that_is_forked_has_one_thread_and_no_connection():
    """The threads of OpenBLAS, which end before each fork, do not count."""
    program = (
        "import threading, emm_pipeline.preload, psutil; "
        "print(threading.active_count(), len(psutil.Process().net_connections('all')))"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout.split() == ["1", "0"], said.stderr


def test_runs_start_even_if_the_definitions_cannot_be_imported_beforehand(monkeypatch, caplog):
    def fail(*_):
        raise ZeroDivisionError("a setting that is wrong")

    monkeypatch.setattr(run_processes, "import_for_runs", fail)
    monkeypatch.delitem(sys.modules, "emm_pipeline.preload", raising=False)
    import emm_pipeline.preload  # noqa: F401

    assert "a setting that is wrong" in caplog.text
