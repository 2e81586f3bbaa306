"""Run processes: forked from a process that has imported everything already.

Dagster starts a new Python for each run, which imports the same modules for 2 s. Here Python's own fork server
(https://docs.python.org/3/library/multiprocessing.html#contexts-and-start-methods) starts with the code server, imports
once, and is forked while it has neither a thread nor a connection. A Celery worker forks its processes likewise.

Which modules are imported is not known here: `emm_pipeline/preload.py` names them.
"""

import gc
import importlib
import multiprocessing
import sys
from collections.abc import Iterable
from multiprocessing import forkserver
from multiprocessing.context import BaseContext

from dagster import Definitions

from emm_pipeline.dagster_ext.internals import set_run_process_context
from emm_pipeline.settings import current_settings

CAN_FORK = sys.platform == "linux"
"""On macOS a process that uses the system's libraries must not be forked; there Dagster starts runs as usual."""


def fork_run_processes(preload_module: str) -> None:
    """Let every code server of this process fork its runs from a process that has imported a module."""
    if CAN_FORK:
        multiprocessing.get_context("forkserver").set_forkserver_preload([preload_module])
        set_run_process_context(fork_context)


def fork_context() -> BaseContext:
    """Return the context whose processes are forked from the fork server."""
    return multiprocessing.get_context("forkserver")


def ensure_fork_server() -> None:
    """Start the fork server if it is not running, so that it is ready when a run starts. With Celery none is needed."""
    if CAN_FORK and current_settings().run_launcher == "default":
        forkserver.ensure_running()


def import_for_runs(modules: Iterable[str], definitions: Definitions) -> None:
    """Import what runs import, and resolve the definitions; for a process that is about to be forked."""
    for name in modules:
        importlib.import_module(name)
    definitions.get_repository_def().load_all_definitions()
    # Objects that exist now are never collected: the collector of a forked process would write to the pages that it
    # shares with the others, and so copy them.
    gc.collect()
    gc.freeze()
