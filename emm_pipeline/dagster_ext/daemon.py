"""Dagster's daemon, which triggers the schedules, starts the runs that wait in the queue and monitors them."""

from pathlib import Path

from emm_pipeline.dagster_ext.garbage import collect_every_minute
from emm_pipeline.dagster_ext.internals import run_daemon


def serve(workspace: Path) -> None:
    """Run the daemon until SIGINT or SIGTERM. DAGSTER_HOME is the folder of the instance.

    Args:
        workspace: the file with the code server's address.
    """
    collect_every_minute()
    run_daemon(["--workspace", str(workspace)])
