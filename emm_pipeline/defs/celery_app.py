"""What a Celery worker is: `celery --app emm_pipeline.defs.celery_app worker`. It loads the definitions once, at start.

Beside the runs, it loads what waits in its host's outbox: the replay job cannot, it may run on another host.
"""

import logging
import subprocess
import sys
import threading
from typing import Any

from celery.signals import worker_ready
from dagster_celery.make_app import make_app
from dagster_celery.tasks import create_execute_job_task, create_resume_job_task

import emm_pipeline.definitions  # noqa: F401  # what makes the worker warm: its processes are forked from here
from emm_pipeline.connections import open_outbox
from emm_pipeline.defs.celery_launcher import CELERY_SETTINGS
from emm_pipeline.errors import EmmError
from emm_pipeline.settings import current_settings

LOOKS_EVERY_S = 30
_REPLAY = [sys.executable, "-c", "from emm_pipeline.cli.main import main; main()", "outbox", "replay"]
_LOG = logging.getLogger(__name__)

app = make_app(
    {
        "broker": current_settings().celery_broker_url.get_secret_value(),
        "backend": current_settings().celery_results_url,
        "config_source": CELERY_SETTINGS,
    }
)
execute_job = create_execute_job_task(app)
resume_job = create_resume_job_task(app)


@worker_ready.connect
def look_after_outbox(**_: Any) -> None:
    """Look into the outbox now and then, for as long as the worker lives."""
    threading.Thread(target=_replay_again_and_again, daemon=True, name="outbox").start()


def _replay_again_and_again() -> None:
    pause = threading.Event()
    while True:
        replay_own_outbox()
        pause.wait(LOOKS_EVERY_S)


def replay_own_outbox() -> None:
    """Load what waits, in a process of its own: the worker forks, and must hold no connection when it does."""
    try:
        if not open_outbox(current_settings()).has_waiting():
            return
        done = subprocess.run(_REPLAY, capture_output=True, text=True, check=False)  # noqa: S603  # ours
    except (EmmError, OSError) as err:
        _LOG.warning("outbox: %s", err)
        return
    said = " ".join(f"{done.stdout} {done.stderr}".split())
    _LOG.log(logging.WARNING if done.returncode else logging.INFO, "outbox: %s", said)
