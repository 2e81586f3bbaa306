"""Runs as tasks of Celery workers, on one host or several, and what Dagster's launcher for it lacks.

It takes a run for healthy while Redis says that its task has begun, which Redis says of a killed worker's task for
ever. This one asks the worker. docs/celery.md is for operators.
"""

import time
from typing import Any, Self

from celery.exceptions import CeleryError
from dagster import DagsterRun
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster._serdes import ConfigurableClassData
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG
from kombu.exceptions import KombuError

from emm_pipeline.settings import Settings

QUEUE = "dagster"

SILENT_FOR_S = 12.0
"""How long a worker may be silent before its runs are taken for dead. Run monitoring asks every 15 s, so that this is
two answers in a row: its runs are failed before the next tick of a minute, which they would hold up."""

FORGOTTEN_AFTER_S = 60.0
"""A silence that nobody asked about for so long was another one."""

_ANSWER_TIMEOUT_S = 3.0

CELERY_SETTINGS: dict[str, Any] = {
    "task_default_queue": QUEUE,
    # A worker takes no more tasks from the queue than it has processes; what waits, waits for any worker.
    "worker_prefetch_multiplier": 1,
    "task_acks_late": True,
    # A task that was given out twice (its worker was killed) finds its run ended, and does nothing.
    "task_reject_on_worker_lost": False,
    "broker_connection_retry_on_startup": True,
    "broker_transport_options": {"visibility_timeout": 7200, "socket_connect_timeout": 5, "socket_timeout": 10},
    "result_backend_transport_options": {"retry_policy": {"timeout": 5.0}},
    "redis_socket_connect_timeout": 5,
    "redis_socket_timeout": 10,
    "result_expires": 86400,
    "worker_send_task_events": False,
}


class WatchedCeleryLauncher(CeleryRunLauncher):
    """Run monitoring asks it about each run that is going on."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._silences: dict[str, tuple[float, float]] = {}

    @classmethod
    def of(cls, settings: Settings, inst_data: ConfigurableClassData | None) -> Self:
        """Make the launcher for the broker that the settings name."""
        return cls(
            default_queue=QUEUE,
            broker=settings.celery_broker_url.get_secret_value(),
            backend=settings.celery_results_url,
            config_source=CELERY_SETTINGS,
            inst_data=inst_data,
        )

    def terminate(self, run_id: str) -> bool:
        """Interrupt the run's process; if its worker is gone, run monitoring ends the run."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished or DAGSTER_CELERY_TASK_ID_TAG not in run.tags:
            return False
        self._instance.report_run_canceling(run)
        return super().terminate(run_id)

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Ask the worker that began the run's task whether it still has it."""
        task_id = run.tags.get(DAGSTER_CELERY_TASK_ID_TAG)
        if task_id is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "it is being handed to the broker")
        try:
            meta = self.celery.backend.get_task_meta(task_id, cache=False)
            worker = (meta.get("result") or {}).get("hostname") if meta["status"] == "STARTED" else None
            if worker is None:
                return _health_by(meta["status"])
            inspect = self.celery.control.inspect(destination=[worker], timeout=_ANSWER_TIMEOUT_S, limit=1)
            answer = inspect.query_task(task_id)
        except (CeleryError, KombuError, OSError) as err:
            return CheckRunHealthResult(WorkerStatus.RUNNING, f"the broker does not answer: {type(err).__name__}")
        if not answer or worker not in answer:
            return self._health_of_silent(worker)
        self._silences.pop(worker, None)
        if task_id in answer[worker]:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, f"the worker {worker} was started anew and does not know it")

    def _health_of_silent(self, worker: str) -> CheckRunHealthResult:
        now = time.monotonic()
        first, last = self._silences.get(worker, (now, now))
        if now - last > FORGOTTEN_AFTER_S:
            first = now
        self._silences[worker] = first, now
        if now - first < SILENT_FOR_S:
            return CheckRunHealthResult(WorkerStatus.RUNNING, f"the worker {worker} does not answer now")
        return CheckRunHealthResult(
            WorkerStatus.FAILED, f"the worker {worker} has not answered for {now - first:.0f} s"
        )


def _health_by(status: str) -> CheckRunHealthResult:
    if status == "FAILURE":
        return CheckRunHealthResult(WorkerStatus.FAILED, "its process was killed, or its task failed")
    # SUCCESS: it just ended. PENDING: Redis lost what it knew, and max_runtime ends the run if nothing else does.
    return CheckRunHealthResult(WorkerStatus.RUNNING, f"its task is {status}")
