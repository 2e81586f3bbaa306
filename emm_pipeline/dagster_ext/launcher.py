"""Dagster's own run launcher, and what it lacks: noticing that a run's process is gone.

A living code server fails a run whose process was killed. When both were (a restart of the host, of the container),
Dagster would wait until the run's longest time is over.
"""

import time

from dagster import DagsterRun
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import deserialize_value

UNREACHABLE_FOR_S = 60.0
"""How long a code server may be silent before its runs are taken for dead: a restart takes 10 to 20 s."""

_ANSWER_TIMEOUT_S = 10


class WatchedRunLauncher(DefaultRunLauncher):
    """Named under `run_launcher:` in dagster.yaml; run monitoring asks it about each run that is going on."""

    _silence: tuple[float, float] | None = None
    """When the code server was first and last found silent, by the monotonic clock."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """So that run monitoring asks."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Ask the run's code server, whose child the run's process is, whether it knows it."""
        client = self._get_grpc_client_for_termination(run.run_id)  # type: ignore[no-untyped-call]
        if client is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "it has ended, or no code server started it")
        request = CanCancelExecutionRequest(run_id=run.run_id)
        try:
            answer = client.can_cancel_execution(request, timeout=_ANSWER_TIMEOUT_S)
        except DagsterUserCodeUnreachableError:
            return self._health_of_silent_server()
        self._silence = None
        if deserialize_value(answer, CanCancelExecutionResult).can_cancel:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, "its process is gone: it, or the code server, was killed")

    def _health_of_silent_server(self) -> CheckRunHealthResult:
        now = time.monotonic()
        first, last = self._silence or (now, now)
        if now - last > UNREACHABLE_FOR_S:  # nobody asked for so long: that was another silence
            first = now
        self._silence = first, now
        silent_s = now - first
        if silent_s < UNREACHABLE_FOR_S:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "the code server does not answer now")
        return CheckRunHealthResult(WorkerStatus.FAILED, f"the code server has not answered for {silent_s:.0f} s")
