"""The Celery worker that executes runs, and its chores. `emm_pipeline/celery_app.py` creates it. See docs/celery.md.

The worker's processes are forked from one that has imported all modules and holds no database connection. Any host may
execute a job, so chores for one particular host cannot be jobs: each worker loads the points in its host's outbox, and
deletes its host's old step files.

Celery's signals: https://docs.celeryq.dev/en/stable/userguide/signals.html
"""

import logging
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from celery import Celery
from celery.signals import worker_ready
from dagster_celery.make_app import make_app
from dagster_celery.tasks import create_execute_job_task, create_resume_job_task

from emm_pipeline.dagster_ext.celery_launcher import celery_settings
from emm_pipeline.errors import EmmError
from emm_pipeline.settings import Settings

_LOG = logging.getLogger(__name__)


class Chore:
    """A periodic task, executed in its own process, whose output goes to the worker's log.

    Args:
        code: Python code to run, and its arguments.
        every_s: the shortest time between two starts.
        needed: returns whether there is anything to do.
    """

    def __init__(self, code: Sequence[str], every_s: float, needed: Callable[[], bool] = lambda: True) -> None:
        self._command = [sys.executable, "-c", *code]
        self._every_s, self._needed = every_s, needed
        self._due = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    def look(self) -> None:
        """Start the process if it is due and needed. Do not wait for it: the worker's event loop calls this."""
        now = time.monotonic()
        if (self._process and self._process.poll() is None) or now < self._due:
            return
        self._due = now + self._every_s
        try:
            self._process = (
                subprocess.Popen(self._command, stdin=subprocess.DEVNULL)  # noqa: S603 - ours
                if self._needed()
                else None
            )
        except (EmmError, OSError) as err:
            _LOG.warning("%s", err)


def make_worker_app(settings: Settings, chores: Sequence[Chore], look_every_s: float) -> Celery:
    """Return the app that workers run.

    Args:
        settings: the address of Redis, and the number of runs that a worker executes at once.
        chores: the chores of each worker.
        look_every_s: the time between two checks whether a chore is due.
    """
    arguments = {"broker": settings.redis_url, "backend": settings.redis_url, "config_source": celery_settings()}
    app = make_app(arguments)  # type: ignore[no-untyped-call]
    app.conf.worker_concurrency = settings.celery_concurrency
    create_execute_job_task(app)
    create_resume_job_task(app)

    def do_chores(sender: Any, **_: Any) -> None:
        # On the worker's timer, because a thread would exist while the worker forks.
        for chore in chores:
            chore.look()
            sender.timer.call_repeatedly(look_every_s, chore.look)

    worker_ready.connect(do_chores, weak=False)
    return app
