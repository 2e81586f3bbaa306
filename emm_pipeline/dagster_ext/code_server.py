"""Mends of Dagster's code server: how it starts runs, and how it looks, each second, for those whose process died.

The look asks the database about each of them. If the database is away just then, the error ends the thread that looks,
for as long as the server lives: from then on killed runs would hold on until their longest time is over.
"""

import logging

from dagster._grpc.server import DagsterApiServer

from emm_pipeline.dagster_ext.run_processes import fork_run_processes, have_fork_server

_log = logging.getLogger(__name__)
_look = DagsterApiServer._check_for_orphaned_runs  # noqa: SLF001 - what is mended


def patch_code_servers() -> None:
    """Let runs be forked, and the look for dead ones go on after any error. Works in a server that runs already."""
    fork_run_processes()
    DagsterApiServer._check_for_orphaned_runs = _look_and_go_on  # type: ignore[assignment, method-assign]  # noqa: SLF001


def _look_and_go_on(server: DagsterApiServer) -> None:
    try:
        have_fork_server()
        _look(server)
    except Exception as err:  # noqa: BLE001 - whichever it is, the next look may succeed
        reason = " ".join(str(err).split())
        _log.warning("cannot look for runs whose process died: %s", reason)
