"""Fork run processes from a process that has already imported all modules.

Dagster starts a new Python process for each run, which takes 2 s to import the same modules. Here Python's own fork
server (https://docs.python.org/3/library/multiprocessing.html#contexts-and-start-methods) starts with the code server,
imports them once, and is forked while it has neither threads nor connections. A Celery worker forks its processes in
the same way.

The modules to import are listed in `emm_pipeline/preload.py`, not here.
"""

import gc
import importlib
import multiprocessing
import sys
from collections.abc import Iterable
from multiprocessing import forkserver
from multiprocessing.context import BaseContext

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
