"""How the code server starts a run's process: forked from one that has everything imported already.

Dagster starts a new Python for each run, which imports the same for 2 s, with every tick. Python's own fork server
starts with the code server instead, imports once, and is forked before it has a thread or a connection.
"""

import gc
import importlib
import multiprocessing
import sys
from multiprocessing import forkserver
from multiprocessing.context import BaseContext

from dagster._grpc.server import DagsterApiServer

from emm_pipeline.settings import current_settings

IS_SAFE = sys.platform == "linux"
"""On macOS a process that uses the system's libraries must not be forked: there nothing changes."""

_IMPORTED = (
    "dagster._cli",  # what each of the code server's processes is started as
    "emm_pipeline.modbus.decoding",
    "emm_pipeline.stores.delivery",
    "emm_pipeline.stores.influxdb.store",
    "emm_pipeline.stores.outbox.folder",
    "emm_pipeline.stores.outbox.format_1",
    "emm_pipeline.stores.outbox.format_2",
    "emm_pipeline.stores.outbox.rejected",
    "emm_pipeline.stores.postgresql.store",
    "emm_pipeline.stores.shaping",
    "pandas",
)


def fork_run_processes() -> None:
    """Let every code server of this process start its runs so, also one that runs already."""
    if IS_SAFE:
        # As a property it comes before the attribute that the server's __init__ has set.
        forked = property(lambda _: _context(), lambda _, __: None)
        DagsterApiServer._mp_ctx = forked  # type: ignore[assignment]  # noqa: SLF001 - what is mended


def have_fork_server() -> None:
    """Start the fork server if there is none, so that it is ready when a run needs it: with Celery none does."""
    if IS_SAFE and current_settings().run_launcher == "default":
        _context()
        forkserver.ensure_running()


def _context() -> BaseContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([f"{__package__}.fork_server"])
    return context


def import_all() -> None:
    """Import what runs import, and resolve the definitions; in a process that is about to be forked."""
    for name in _IMPORTED:
        importlib.import_module(name)
    definitions = importlib.import_module("emm_pipeline.definitions").definitions
    definitions.get_repository_def().load_all_definitions()
    # So that the collector of a forked process does not write to, and so copy, all that it shares with the others.
    gc.collect()
    gc.freeze()
