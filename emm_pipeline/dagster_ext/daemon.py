"""Dagster's daemon, which triggers the schedules, starts the runs that wait in the queue and monitors them.

Here it looks at the queue as soon as it has put a run into it. By itself it looks once a second, and each scheduled
poll would begin half a second later on average.
"""

from functools import wraps
from pathlib import Path
from threading import Event
from typing import Any

from dagster import DagsterInstance, DagsterRun

from emm_pipeline.dagster_ext.garbage import collect_every_minute
from emm_pipeline.dagster_ext.internals import look_at_queue_when, run_daemon


def serve(workspace: Path) -> None:
    """Run the daemon until SIGINT or SIGTERM. DAGSTER_HOME is the folder of the instance.

    Args:
        workspace: the file with the code server's address.
    """
    collect_every_minute()
    look_at_queue_when(runs_are_submitted())
    run_daemon(["--workspace", str(workspace)])


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
