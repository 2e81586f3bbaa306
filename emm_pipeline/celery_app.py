"""Celery's entry point: the app whose workers execute runs. See docs/celery.md.

celery --app emm_pipeline.celery_app worker
"""

import emm_pipeline.preload  # noqa: F401 - before the worker forks
from emm_pipeline.dagster_ext.celery_worker import Chore, make_worker_app
from emm_pipeline.opening import open_outbox
from emm_pipeline.settings import current_settings

LOOK_EVERY_S = 30
DELETE_STEP_FILES_EVERY_S = 3600

_REPLAY = ("from emm_pipeline.cli.main import main; main()", "outbox", "replay")
_PRUNE = ("from emm_pipeline.dagster_ext.run_history import prune_own_files; prune_own_files()",)


def _points_wait() -> bool:
    return open_outbox(current_settings()).has_waiting()


app = make_worker_app(
    current_settings(),
    [Chore(_REPLAY, 0, _points_wait), Chore(_PRUNE, DELETE_STEP_FILES_EVERY_S)],
    look_every_s=LOOK_EVERY_S,
)
