"""Fork run processes from a process that has already imported all modules.

Dagster starts a new Python process for each run, which takes 2 s to import the same modules. Here Python's own fork
server (https://docs.python.org/3/library/multiprocessing.html#contexts-and-start-methods) is forked from the code
server, which has imported them by then, so both share their memory. Runs are forked while it has neither threads nor
connections. If it was killed, a new one imports the modules itself. A Celery worker forks its processes in the same
way.

The modules to import are listed in `emm_pipeline/preload.py`, not here.
"""

import gc
import importlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from multiprocessing import forkserver, resource_tracker, util
from multiprocessing.context import BaseContext
from pathlib import Path

from dagster import DagsterInstance, Definitions

from emm_pipeline.dagster_ext.internals import MODULES_OF_RUNS, set_run_process_context
from emm_pipeline.settings import current_settings

OBJECTS_BEFORE_COLLECTION = 50_000
"""Number of new objects after which a run's process looks for garbage. With Python's default, 700, a sixth of the time
of a poll went into looking at the readings of the same poll again and again; a run ends soon anyway."""

CAN_FORK = sys.platform == "linux"
"""False on macOS, where a process that uses the system's libraries must not be forked; Dagster then starts new ones."""


def fork_run_processes(preload_module: str) -> None:
    """Make every code server of this process fork its runs from a process that has imported a module."""
    if CAN_FORK:
        multiprocessing.get_context("forkserver").set_forkserver_preload([preload_module])
        set_run_process_context(fork_context)


def fork_context() -> BaseContext:
    """Return the context whose processes are forked from the fork server."""
    return multiprocessing.get_context("forkserver")


def share_memory_with_fork_server(preload_module: str) -> None:
    """Import a module in this process, which has only one thread yet, and fork the fork server from it."""
    if CAN_FORK and current_settings().run_launcher == "default":
        importlib.import_module(preload_module)
        resource_tracker.ensure_running()  # a process that needs none of the modules
        original = util.spawnv_passfds
        util.spawnv_passfds = _fork  # type: ignore[assignment]  # all arguments are texts
        try:
            forkserver.ensure_running()
        finally:
            util.spawnv_passfds = original


def _fork(_: bytes, arguments: Sequence[str], descriptors: Sequence[int]) -> int:
    """Fork this process, instead of starting a new Python for the last argument, a program; return the process id."""
    sys.stdout.flush()  # or else both processes would write what is in the buffers
    sys.stderr.flush()
    process_id = os.fork()
    if process_id:
        return process_id
    try:
        _close_all_but({0, 1, 2, *descriptors})
        # As in a new Python: the lock of the parent is held here, and a run that starts processes would wait for it.
        forkserver.ensure_running.__self__.__init__()  # type: ignore[attr-defined]
        exec(arguments[-1], {})  # noqa: S102 - of Python's own module
    except SystemExit:  # the code server and its runs have ended
        pass
    except BaseException:  # noqa: BLE001 - nothing may return into the code of the code server
        sys.excepthook(*sys.exc_info())
    finally:
        os.kill(os.getpid(), signal.SIGKILL)  # without the functions that the code server has registered for its exit
    return 0  # not reached


def _close_all_but(kept: Collection[int]) -> None:
    """Close descriptors of this process: those that are open, since the largest possible number can be a billion."""
    for descriptor in [int(each.name) for each in Path("/proc/self/fd").iterdir()]:
        if descriptor not in kept:
            with suppress(OSError):  # the descriptor of the list itself
                os.close(descriptor)


def ensure_fork_server() -> None:
    """Start the fork server if it is not running, so that it is ready when a run starts. Celery does not need it."""
    if CAN_FORK and current_settings().run_launcher == "default":
        forkserver.ensure_running()


def import_for_runs(modules: Iterable[str], definitions: Definitions) -> None:
    """Import the modules that runs need, and resolve the definitions, in a process that will be forked.

    Each module that is imported here is one less to import in each run.
    """
    for name in (*modules, *MODULES_OF_RUNS):
        importlib.import_module(name)
    definitions.get_repository_def().load_all_definitions()
    if current_settings().dagster_home:
        with DagsterInstance.get() as instance:  # imports what dagster.yaml names; nothing is contacted
            _ = instance.compute_log_manager
    # Exclude existing objects from garbage collection: the collector of a forked process would write to pages that it
    # shares with the others, and so copy them.
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS_BEFORE_COLLECTION)
