"""A Celery worker that executes runs: `celery --app emm_pipeline.dagster_ext.celery_worker worker`. See docs/celery.md.

Its processes are forked from one that has everything imported, and that holds no database connection. Beside the runs
it does for its own host what a job cannot, since a job may run on any: it loads what waits in the outbox, and deletes
old step files.
"""

import logging
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from celery.signals import worker_ready
from dagster_celery.make_app import make_app
from dagster_celery.tasks import create_execute_job_task, create_resume_job_task

from emm_pipeline.dagster_ext.celery_launcher import celery_settings
from emm_pipeline.dagster_ext.run_processes import import_all
from emm_pipeline.errors import EmmError
from emm_pipeline.opening import open_outbox
from emm_pipeline.settings import current_settings

LOOKS_EVERY_S = 30
DELETES_STEP_FILES_EVERY_S = 3600

_REPLAY = ("from emm_pipeline.cli.main import main; main()", "outbox", "replay")
_PRUNE = ("from emm_pipeline.defs.prune import prune_own_files; prune_own_files()",)
_LOG = logging.getLogger(__name__)

import_all()
_settings = current_settings()
_app_settings = {"broker": _settings.redis_url, "backend": _settings.redis_url, "config_source": celery_settings()}
app = make_app(_app_settings)  # type: ignore[no-untyped-call]
app.conf.worker_concurrency = _settings.celery_concurrency
execute_job = create_execute_job_task(app)
resume_job = create_resume_job_task(app)


class Chore:
    """Something that is done now and then, in a process of its own, whose output goes to the worker's log."""

    def __init__(self, code: Sequence[str], every_s: float, needed: Callable[[], bool] = lambda: True) -> None:
        self._command = [sys.executable, "-c", *code]
        self._every_s, self._needed = every_s, needed
        self._due = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    def look(self) -> None:
        """Start it if it is due and needed. Does not wait for it: the worker's own loop calls this."""
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


def _points_wait() -> bool:
    return open_outbox(current_settings()).has_waiting()


@worker_ready.connect  # type: ignore[untyped-decorator]
def look_after_host(sender: Any, **_: Any) -> None:
    """Do both chores now, and then on the worker's own timer: a thread would be there while it forks."""
    for chore in (Chore(_REPLAY, 0, _points_wait), Chore(_PRUNE, DELETES_STEP_FILES_EVERY_S)):
        chore.look()
        sender.timer.call_repeatedly(LOOKS_EVERY_S, chore.look)
