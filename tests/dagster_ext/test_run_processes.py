"""Runs are forked from a process that has imported everything; if it cannot import, runs import by themselves."""

import multiprocessing
import subprocess
import sys

import psutil
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


SHARED = """
import json, multiprocessing, os, sys
from multiprocessing import forkserver
from emm_pipeline.dagster_ext import run_processes

def report(queue):
    forkserver.ensure_running()  # as a run would that starts processes; it must not wait for its parent's lock
    queue.put([sys.modules.get("__marker__"), sorted(os.listdir("/proc/self/fd")), os.getppid()])

if __name__ == "__main__":
    run_processes.set_run_process_context = lambda _: None
    run_processes.fork_run_processes("json")
    sys.modules["__marker__"] = "from the code server"
    open_file = open(os.devnull)
    print("once")
    run_processes.share_memory_with_fork_server("json")
    server = forkserver._forkserver._forkserver_pid
    files = {os.readlink(f"/proc/{server}/fd/{each}") for each in os.listdir(f"/proc/{server}/fd")}
    assert os.path.devnull not in {each for each in files if each != os.readlink(f"/proc/{server}/fd/0")}, files
    context = run_processes.fork_context()
    for restart in (False, True):
        if restart:
            os.kill(server, 9)
            os.waitid(os.P_PID, server, os.WEXITED | os.WNOWAIT)
        queue = context.Queue()
        run = context.Process(target=report, args=[queue])
        run.start()
        marker, _, parent = queue.get(timeout=60)
        run.join(60)
        print(marker, parent == server, run.exitcode)
"""


def test_the_fork_server_shares_the_memory_of_the_code_server_and_a_killed_one_is_replaced(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(SHARED)
    said = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False, timeout=120)
    assert said.stdout.splitlines() == ["once", "from the code server True 0", "None False 0"], said.stderr


ALONE = """
import os, sys
from multiprocessing import forkserver
from emm_pipeline.dagster_ext import run_processes
run_processes.set_run_process_context = lambda _: None
run_processes.share_memory_with_fork_server("json")
print(forkserver._forkserver._forkserver_pid, flush=True)
sys.stdin.read()
"""


def test_the_fork_server_ends_when_the_code_server_is_killed():
    with subprocess.Popen([sys.executable, "-c", ALONE], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        forked = psutil.Process(int(server.stdout.readline()))
        server.kill()
    forked.wait(60)
