"""Dagster's daemon, which triggers the schedules, starts the runs that wait in the queue and monitors them.

Three things differ from Dagster's own daemon:

- It looks at the queue as soon as it has put a run into it. By itself it looks once a second, and each scheduled poll
  would begin half a second later on average.
- It evaluates the schedules EARLY_S before their ticks, because it takes a third of a second until a run has started.
  A poll then waits for its first due time as it does for the others, so no meter is read before its due time.
- It loads the definitions again only if the code server was restarted. By itself it loads them once a minute, and
  computes what it derives from them again with each run.
"""

from functools import wraps
from pathlib import Path
from threading import Event
from typing import Any

from dagster import DagsterInstance, DagsterRun

from emm_pipeline.dagster_ext.garbage import collect_every_minute
from emm_pipeline.dagster_ext.internals import (
    DagsterUserCodeUnreachableError,
    look_at_queue_when,
    refresh_workspace_if,
    run_daemon,
    set_scheduler_clock_ahead,
)
from emm_pipeline.dagster_ext.kept_channels import keep_channels

EARLY_S = 2.0
"""Time (s) before a tick at which its runs are created. Less than START_MARGIN: with SECOND 0, the run of the tick
before has ended by then."""


def serve(workspace: Path) -> None:
    """Run the daemon until SIGINT or SIGTERM. DAGSTER_HOME is the folder of the instance.

    Args:
        workspace: the file with the code server's address.
    """
    collect_every_minute()
    look_at_queue_when(runs_are_submitted())
    keep_channels()
    set_scheduler_clock_ahead(EARLY_S)
    refresh_workspace_if(is_outdated)
    run_daemon(["--workspace", str(workspace)])


def is_outdated(location: Any) -> bool:
    """Whether definitions could not be loaded, or were not loaded from the code server that answers now.

    Args:
        location: Dagster's GrpcServerCodeLocation, or None if the definitions could not be loaded.
    """
    try:
        return location is None or location.client.get_server_id() != location.server_id
    except DagsterUserCodeUnreachableError:
        return True


def runs_are_submitted() -> Event:
    """Return an event that is set each time that this process has put a run into the queue."""
    submitted, submit = Event(), DagsterInstance.submit_run

    @wraps(submit)
    def submit_and_tell(*arguments: Any, **options: Any) -> DagsterRun:
        run = submit(*arguments, **options)
        submitted.set()
        return run

    DagsterInstance.submit_run = submit_and_tell  # type: ignore[method-assign]
    return submitted
