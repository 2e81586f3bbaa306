"""A mend of Dagster's code server, which looks each second for runs whose process died.

The look asks the database about each of them. If the database is away just then, the error ends the thread that looks,
for as long as the server lives: from then on killed runs would hold on until their longest time is over.
"""

import logging

from dagster._grpc.server import DagsterApiServer

_log = logging.getLogger(__name__)
_look = DagsterApiServer._check_for_orphaned_runs  # noqa: SLF001 - what is mended


def look_again_after_an_error() -> None:
    """Let the look for dead runs go on, a second later, after any error. Works in a server that runs already."""
    DagsterApiServer._check_for_orphaned_runs = _look_and_go_on  # type: ignore[assignment, method-assign]  # noqa: SLF001


def _look_and_go_on(server: DagsterApiServer) -> None:
    try:
        _look(server)
    except Exception as err:  # noqa: BLE001 - whichever it is, the next look may succeed
        reason = " ".join(str(err).split())
        _log.warning("cannot look for runs whose process died: %s", reason)
