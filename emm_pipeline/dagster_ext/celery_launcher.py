"""The run launcher for Celery workers, on one host or several: Dagster's own, with a check that detects dead workers.

Redis reports the task of a killed worker as started forever, and Dagster's launcher relies on that. This one asks the
worker. docs/celery.md is for operators; Dagster's launcher: https://docs.dagster.io/deployment/execution/celery
"""

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, Self

from celery.exceptions import CeleryError
from celery.result import denied_join_result
from dagster import DagsterRun, DagsterRunStatus
from dagster_celery.launcher import CeleryRunLauncher
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from emm_pipeline.dagster_ext.internals import (
    CeleryTaskHooks,
    CheckRunHealthResult,
    ConfigurableClassData,
    WorkerStatus,
    instance_of,
)
from emm_pipeline.errors import EmmError
from emm_pipeline.settings import Settings

QUEUE = "dagster"

SILENT_FOR_S = 12.0
"""A worker that has not replied for this time (s) is dead. Run monitoring asks every 15 s: two replies are missing."""

FORGOTTEN_AFTER_S = 60.0
"""If the last request to a silent worker is older than this (s), its silence is measured from the next request."""

RECONNECTED_AFTER_S = 60.0
"""Time (s) that workers may take to reconnect after Redis was unavailable. Until then their silence is ignored."""

REPLY_TIMEOUT_S = 3.0

_REDIS_ERRORS = (CeleryError, KombuError, RedisError, OSError)


def celery_settings() -> dict[str, Any]:
    """Return Celery's settings, for workers and for the processes that send runs to them."""
    return {
        "task_default_queue": QUEUE,
        # A worker takes no more tasks than it has processes. Further tasks wait in Redis for any worker.
        "worker_prefetch_multiplier": 1,
        "task_acks_late": True,
        # Redis hands out the task of a killed worker again after visibility_timeout (s), which is longer than any run
        # may take. The task then finds that its run has ended, and does nothing.
        "broker_transport_options": {"visibility_timeout": 7200, "socket_connect_timeout": 5, "socket_timeout": 10},
        "task_reject_on_worker_lost": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # Kills a process that nothing else has ended, after more seconds than any run may take.
        "task_time_limit": 5400,
        # Limits the memory that a process accumulates. Its successor is forked with everything imported.
        "worker_max_tasks_per_child": 200,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "result_backend_transport_options": {"retry_policy": {"timeout": 5.0}},
        "redis_socket_connect_timeout": 5,
        "redis_socket_timeout": 10,
        "result_expires": 86400,
        "worker_send_task_events": False,
        # Dagster's output about a run goes to the log unchanged, not as Celery's warnings.
        "worker_redirect_stdouts": False,
    }


class WatchedCeleryLauncher(CeleryTaskHooks, CeleryRunLauncher):
    """Sends runs to Celery workers, and answers run monitoring about them. A run's task has the run's id."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._silences: dict[str, tuple[float, float]] = {}
        self._redis_failed_at = float("-inf")

    @classmethod
    def of(cls, settings: Settings, inst_data: ConfigurableClassData | None) -> Self:
        """Return a launcher for the Redis that the settings name."""
        url = settings.redis_url
        return cls(default_queue=QUEUE, broker=url, backend=url, config_source=celery_settings(), inst_data=inst_data)

    def prepare_task(self, run: DagsterRun, task_signature: Any) -> Any:
        """Give the task the run's id: Celery's own id is written to the run only after the task may have begun."""
        return task_signature.set(task_id=run.run_id)

    @contextmanager
    def sending_task(self) -> Iterator[None]:
        """Raise EmmError if Redis cannot be reached; do not subscribe to results, because no code waits for them."""
        with _clear_errors("the run was not sent to a worker"), denied_join_result():
            yield

    def terminate(self, run_id: str) -> bool:
        """Interrupt the run, as Dagster's default launcher does: the run then ends by itself as canceled."""
        instance = instance_of(self)
        run = instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        if run.status is not DagsterRunStatus.CANCELING:
            instance.report_run_canceling(run)
        with _clear_errors("the run was not interrupted"):
            # At SIGTERM, Celery's default, the process would end before the run has reported its end.
            self.celery.control.revoke(run_id, terminate=True, signal="SIGINT")
        return True

    def lost(self, run_ids: Collection[str]) -> set[str]:
        """Return the runs that no replying worker has; an empty set if Redis is unavailable."""
        try:
            replies = self._ask(run_ids)
        except _REDIS_ERRORS:
            return set()
        return set(run_ids).difference(*replies.values())

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Ask the worker that began the run's task whether it still executes it."""
        try:
            status, worker = self._task(run.run_id)
            if status == "FAILURE":
                return CheckRunHealthResult(WorkerStatus.FAILED, "its process was killed")
            if worker and self._was_silent_just_now(worker):
                return self._health_of_silent(worker)
            replies = self._ask([run.run_id], worker)
        except _REDIS_ERRORS as err:
            self._redis_failed_at = time.monotonic()
            return CheckRunHealthResult(WorkerStatus.RUNNING, f"Redis does not reply: {type(err).__name__}")
        if any(run.run_id in tasks for tasks in replies.values()):
            self._silences.pop(worker or run.run_id, None)
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        if worker in replies:
            return CheckRunHealthResult(WorkerStatus.FAILED, f"its worker {worker} was restarted")
        return self._health_of_silent(worker or run.run_id)

    def get_run_worker_debug_info(self, run: DagsterRun, include_container_logs: bool | None = True) -> str | None:
        """Return the state of the run's task, for the message of the run's failure."""
        _ = include_container_logs
        try:
            status, worker = self._task(run.run_id)
        except _REDIS_ERRORS:
            return "Redis does not reply."
        return f"Begun by worker {worker}." if worker else f"No worker has begun it (task {status}): is one running?"

    def _task(self, run_id: str) -> tuple[str, str | None]:
        """Return the status of a run's task in Redis, and the worker that executes it."""
        meta = self.celery.backend.get_task_meta(run_id, cache=False)
        worker = (meta.get("result") or {}).get("hostname") if meta["status"] == "STARTED" else None
        return str(meta["status"]), worker

    def _ask(self, run_ids: Collection[str], worker: str | None = None) -> dict[str, dict[str, Any]]:
        """Return the runs of each worker. Without a worker's name, ask all workers."""
        destination = {"destination": [worker], "limit": 1} if worker else {}
        inspect = self.celery.control.inspect(timeout=REPLY_TIMEOUT_S, **destination)
        return inspect.query_task(*run_ids) or {}

    def _was_silent_just_now(self, worker: str) -> bool:
        """Whether the worker did not reply about another of its runs in this round of run monitoring."""
        return worker in self._silences and time.monotonic() - self._silences[worker][1] < REPLY_TIMEOUT_S

    def _health_of_silent(self, who: str) -> CheckRunHealthResult:
        now = time.monotonic()
        first, last = self._silences.get(who, (now, now))
        if now - last > FORGOTTEN_AFTER_S:
            first = now
        self._silences[who] = first, now
        silent_s = now - first
        if silent_s < SILENT_FOR_S or now - self._redis_failed_at < RECONNECTED_AFTER_S:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "its worker does not reply now")
        return CheckRunHealthResult(WorkerStatus.FAILED, f"its worker has not replied for {silent_s:.0f} s")


@contextmanager
def _clear_errors(what: str) -> Iterator[None]:
    try:
        yield
    except _REDIS_ERRORS as err:
        raise EmmError(f"{what}: Redis (REDIS_HOST, REDIS_PORT): {err}") from err
