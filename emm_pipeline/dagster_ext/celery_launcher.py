"""Runs as tasks of Celery workers, on one host or several, and what Dagster's launcher for it lacks.

Redis says of a killed worker's task for ever that it has begun, and Dagster's launcher believes it. This one asks the
worker. docs/celery.md is for operators.
"""

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, Self

from celery.exceptions import CeleryError
from celery.result import denied_join_result
from dagster import DagsterRun, DagsterRunStatus
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster._serdes import ConfigurableClassData
from dagster_celery.launcher import CeleryRunLauncher
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from emm_pipeline.errors import EmmError
from emm_pipeline.settings import Settings

QUEUE = "dagster"

SILENT_FOR_S = 12.0
"""How long a run's worker may be silent before the run is taken for dead: run monitoring asks every 15 s, so that it
was silent twice."""

FORGOTTEN_AFTER_S = 60.0
"""A silence that nobody asked about for so long was another one."""

RECONNECTED_AFTER_S = 60.0
"""After Redis was away, workers come back by and by; until then their silence means nothing."""

ANSWER_TIMEOUT_S = 3.0

_REDIS_ERRORS = (CeleryError, KombuError, RedisError, OSError)


def celery_settings() -> dict[str, Any]:
    """Return Celery's settings, of workers and of who hands runs to them."""
    return {
        "task_default_queue": QUEUE,
        # A worker takes no more tasks than it has processes; what waits, waits in Redis, for any worker.
        "worker_prefetch_multiplier": 1,
        "task_acks_late": True,
        # The task of a killed worker is given out again after this, in s: longer than any run may take. It finds its
        # run ended and does nothing.
        "broker_transport_options": {"visibility_timeout": 7200, "socket_connect_timeout": 5, "socket_timeout": 10},
        "task_reject_on_worker_lost": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # The last resort, in s: a process that nothing else ends. No run may take so long.
        "task_time_limit": 5400,
        # What a process has gathered goes with it; the next one is forked, with everything imported.
        "worker_max_tasks_per_child": 200,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "result_backend_transport_options": {"retry_policy": {"timeout": 5.0}},
        "redis_socket_connect_timeout": 5,
        "redis_socket_timeout": 10,
        "result_expires": 86400,
        "worker_send_task_events": False,
        # What Dagster prints of a run goes to the log as it is, not as warnings of Celery's.
        "worker_redirect_stdouts": False,
    }


class WatchedCeleryLauncher(CeleryRunLauncher):
    """Run monitoring asks it about each run that is going on. A run's task has the run's id."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._silences: dict[str, tuple[float, float]] = {}
        self._redis_was_away = float("-inf")

    @classmethod
    def of(cls, settings: Settings, inst_data: ConfigurableClassData | None) -> Self:
        """Make the launcher for the Redis that the settings name."""
        url = settings.redis_url
        return cls(default_queue=QUEUE, broker=url, backend=url, config_source=celery_settings(), inst_data=inst_data)

    def _launch_celery_task_run(self, run: DagsterRun, task_signature: Any, routing_key: str) -> None:
        # Its own id, not one of Celery's: that is written to the run when it may have begun, and can be lost then.
        # Nobody waits here for results; subscribed to them, Redis would send them all.
        with _clear_errors("the run was not handed on"), denied_join_result():
            super()._launch_celery_task_run(run, task_signature.set(task_id=run.run_id), routing_key)

    def terminate(self, run_id: str) -> bool:
        """Interrupt the run, as Dagster's own launcher does: the run ends itself, as canceled."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        if run.status is not DagsterRunStatus.CANCELING:
            self._instance.report_run_canceling(run)
        with _clear_errors("the run was not interrupted"):
            # Not Celery's SIGTERM, at which the process would end before it has said so.
            self.celery.control.revoke(run_id, terminate=True, signal="SIGINT")
        return True

    def lost(self, run_ids: Collection[str]) -> set[str]:
        """Return those of the runs that no worker has, of those that answer now; none if Redis is away."""
        try:
            answers = self._ask(run_ids)
        except _REDIS_ERRORS:
            return set()
        return set(run_ids).difference(*answers.values())

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Ask the worker that began the run's task whether it still has it."""
        try:
            status, worker = self._task(run.run_id)
            if status == "FAILURE":
                return CheckRunHealthResult(WorkerStatus.FAILED, "its process was killed")
            if worker and self._was_silent_just_now(worker):
                return self._health_of_silent(worker)
            answers = self._ask([run.run_id], worker)
        except _REDIS_ERRORS as err:
            self._redis_was_away = time.monotonic()
            return CheckRunHealthResult(WorkerStatus.RUNNING, f"Redis does not answer: {type(err).__name__}")
        if any(run.run_id in tasks for tasks in answers.values()):
            self._silences.pop(worker or run.run_id, None)
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        if worker in answers:
            return CheckRunHealthResult(WorkerStatus.FAILED, f"its worker {worker} was started anew")
        return self._health_of_silent(worker or run.run_id)

    def get_run_worker_debug_info(self, run: DagsterRun, include_container_logs: bool | None = True) -> str | None:
        """Say where the run's task is, for the message that fails the run."""
        _ = include_container_logs
        try:
            status, worker = self._task(run.run_id)
        except _REDIS_ERRORS:
            return "Redis does not answer."
        return f"Begun by worker {worker}." if worker else f"No worker has begun it (task {status}): is one running?"

    def _task(self, run_id: str) -> tuple[str, str | None]:
        """Return what Redis says of a run's task, and the worker that is at it."""
        meta = self.celery.backend.get_task_meta(run_id, cache=False)
        worker = (meta.get("result") or {}).get("hostname") if meta["status"] == "STARTED" else None
        return str(meta["status"]), worker

    def _ask(self, run_ids: Collection[str], worker: str | None = None) -> dict[str, dict[str, Any]]:
        """Return which of the runs each worker has; without a worker's name all are asked."""
        destination = {"destination": [worker], "limit": 1} if worker else {}
        inspect = self.celery.control.inspect(timeout=ANSWER_TIMEOUT_S, **destination)
        return inspect.query_task(*run_ids) or {}

    def _was_silent_just_now(self, worker: str) -> bool:
        """Whether another of its runs was asked about in this round of run monitoring."""
        return worker in self._silences and time.monotonic() - self._silences[worker][1] < ANSWER_TIMEOUT_S

    def _health_of_silent(self, who: str) -> CheckRunHealthResult:
        now = time.monotonic()
        first, last = self._silences.get(who, (now, now))
        if now - last > FORGOTTEN_AFTER_S:
            first = now
        self._silences[who] = first, now
        silent_s = now - first
        if silent_s < SILENT_FOR_S or now - self._redis_was_away < RECONNECTED_AFTER_S:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "its worker does not answer now")
        return CheckRunHealthResult(WorkerStatus.FAILED, f"its worker has not answered for {silent_s:.0f} s")


@contextmanager
def _clear_errors(what: str) -> Iterator[None]:
    try:
        yield
    except _REDIS_ERRORS as err:
        raise EmmError(f"{what}: Redis (REDIS_HOST, REDIS_PORT): {err}") from err
