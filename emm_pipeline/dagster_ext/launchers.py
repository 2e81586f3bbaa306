"""The run launcher: Dagster's default one with a check that detects a dead run process, or Celery's, as configured.

While a code server is running, it fails runs whose process was killed. If the code server was killed too (the host or
the container restarted), Dagster itself would show the run as running until its max_runtime has passed.

Run launchers: https://docs.dagster.io/deployment/execution/run-launchers
"""

import time
from collections.abc import Mapping
from typing import Any

from dagster import DagsterRun, DefaultRunLauncher, Field

from emm_pipeline.dagster_ext.internals import (
    CheckRunHealthResult,
    ConfigurableClass,
    ConfigurableClassData,
    DagsterUserCodeUnreachableError,
    RunLauncher,
    WorkerStatus,
    is_known_to_code_server,
)
from emm_pipeline.errors import ConfigurationError
from emm_pipeline.settings import current_settings

UNREACHABLE_FOR_S = 60.0
"""Time (s) that a code server may not reply before its runs are failed. A restart takes 10 to 20 s."""

_REPLY_TIMEOUT_S = 10


class ChosenRunLauncher(RunLauncher, ConfigurableClass):
    """The class under `run_launcher:` in dagster.yaml: creates the launcher that RUN_LAUNCHER names."""

    @classmethod
    def config_type(cls) -> dict[str, Field]:
        """Return no fields: the settings come from the environment, so that no page shows Redis's password."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> RunLauncher:  # type: ignore[override]
        """Return Dagster's default launcher, or the one for Celery.

        Raises:
            ConfigurationError: RUN_LAUNCHER=celery is set, but the packages that it needs are not installed.
        """
        settings = current_settings()
        if settings.run_launcher == "default":
            return WatchedRunLauncher(inst_data=inst_data, **config_value)
        try:
            from emm_pipeline.dagster_ext.celery_launcher import WatchedCeleryLauncher  # noqa: PLC0415  # an extra
        except ModuleNotFoundError as err:
            raise ConfigurationError(
                f"RUN_LAUNCHER=celery needs the package {err.name}: pip install -c constraints.txt '.[celery]'"
            ) from err
        return WatchedCeleryLauncher.of(settings, inst_data)


class WatchedRunLauncher(DefaultRunLauncher):
    """Dagster's default launcher, with a health check of each run in progress for run monitoring."""

    _silence: tuple[float, float] | None = None
    """Times (monotonic clock) of the first and the last check in a row to which the code server did not reply."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Return True, so that run monitoring calls the health check."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Ask the code server, the parent of the run's process, whether that process is alive."""
        try:
            is_known = is_known_to_code_server(self, run.run_id, _REPLY_TIMEOUT_S)
        except DagsterUserCodeUnreachableError:
            return self._health_of_silent_server()
        if is_known is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "it has ended, or no code server started it")
        self._silence = None
        if is_known:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, "its process, or the code server, was killed")

    def _health_of_silent_server(self) -> CheckRunHealthResult:
        now = time.monotonic()
        first, last = self._silence or (now, now)
        if now - last > UNREACHABLE_FOR_S:  # the last check is too long ago to be part of the same outage
            first = now
        self._silence = first, now
        silent_s = now - first
        if silent_s < UNREACHABLE_FOR_S:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "the code server does not reply now")
        return CheckRunHealthResult(WorkerStatus.FAILED, f"the code server has not replied for {silent_s:.0f} s")
