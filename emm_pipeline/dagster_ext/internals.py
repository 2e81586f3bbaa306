"""Every private name of Dagster that EMM uses. No other module uses one: tests/test_architecture.py enforces it.

Private are all modules and attributes with a leading underscore (`dagster._core…`, `DagsterApiServer._mp_ctx`), and
the tables of Dagster's database. Dagster changes these without notice, so tests/dagster_ext/test_internals.py fails
with any version of Dagster other than the one in `checked_names`. After an upgrade: look up each name in Dagster's
source, adapt the code to changes, and enter the new version.

This module contains only names, and functions that hide a private attribute. Code that uses them belongs in the other
modules of this package. Dagster's public API: https://docs.dagster.io/api
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from functools import partial
from multiprocessing.context import BaseContext
from pathlib import Path
from threading import Event
from typing import Any

from dagster import (
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    DefaultRunLauncher,
    EventLogEntry,
    Failure,
    RunsFilter,
)
from dagster._core.errors import DagsterUserCodeProcessError, DagsterUserCodeUnreachableError
from dagster._core.events import AssetMaterializationPlannedData, AssetObservationData, StepMaterializationData
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus
from dagster._core.execution.stats import (
    STEP_STATS_EVENT_TYPES,
    RunStepKeyStatsSnapshot,
    build_run_step_stats_from_events,
)
from dagster._core.launcher import CheckRunHealthResult, RunLauncher, WorkerStatus
from dagster._core.storage.defs_state import DefsStateStorage
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.fs_io_manager import PickledObjectFilesystemIOManager
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.server import DagsterApiServer
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import ConfigurableClass, ConfigurableClassData, deserialize_value, serialize_value
from dagster._utils.error import SerializableErrorInfo  # type: ignore[attr-defined]
from dagster_postgres import DagsterPostgresStorage, PostgresEventLogStorage
from sqlalchemy import Engine

__all__ = [
    "STEP_STATS_EVENT_TYPES",
    "AssetMaterializationPlannedData",
    "AssetObservationData",
    "BulkActionStatus",
    "BulkActionsFilter",
    "CheckRunHealthResult",
    "ConfigurableClass",
    "ConfigurableClassData",
    "DagsterUserCodeUnreachableError",
    "DefsStateStorage",
    "PickledObjectFilesystemIOManager",
    "PlainFailureError",
    "RunLauncher",
    "RunStepKeyStatsSnapshot",
    "SqlEventLogStorageTable",
    "StepMaterializationData",
    "WorkerStatus",
    "build_run_step_stats_from_events",
    "serialize_value",
]


MODULES_OF_RUNS = (
    "dagster._core.execution.plan.active",
    "dagster._core.executor.in_process",
    "dagster._core.storage.sqlite_storage",
    "dagster._core.system_config.composite_descent",
    "dagster._grpc.impl",
)
"""Modules that Dagster imports only when it executes a run."""


class PlainFailureError(Failure, DagsterUserCodeProcessError):
    """A Failure that Dagster shows as one line, with its metadata and without a stack trace, which would be Dagster's.

    Not retried.
    """

    def __init__(self, description: str, metadata: Mapping[str, Any] | None = None) -> None:
        Exception.__init__(self, description)
        plain = Failure(description, metadata, allow_retries=False)
        self.description, self.metadata, self.allow_retries = plain.description, plain.metadata, False
        self.user_code_process_error_infos = [SerializableErrorInfo(description, [], cls_name=None)]


def run_code_server(arguments: Sequence[str]) -> None:
    """Run `dagster api grpc ARGUMENT…` in this process until SIGINT or SIGTERM."""
    from dagster._cli.api import grpc_command  # noqa: PLC0415  # takes 0.1 s, needed only here

    grpc_command.main(list(arguments), standalone_mode=False)


def run_daemon(arguments: Sequence[str]) -> None:
    """Do what `dagster-daemon run ARGUMENT…` does, until SIGINT or SIGTERM."""
    from dagster._daemon.cli import run_command  # noqa: PLC0415  # no other process needs it

    run_command.main(list(arguments), standalone_mode=False)


def look_at_queue_when(woken: Event) -> None:
    """Make the daemon of this process look at the run queue also when `woken` is set, not only at each interval."""
    from dagster._daemon import controller, run_coordinator  # noqa: PLC0415  # no other process needs them

    class PromptQueueDaemon(run_coordinator.QueuedRunCoordinatorDaemon):
        def __init__(self, interval_seconds: float) -> None:
            super().__init__(interval_seconds=0)  # its own pause between two iterations, which cannot be ended early
            self.pause_s = interval_seconds

        def run_iteration(self, workspace: Any, *arguments: Any) -> Any:
            queued = RunsFilter(statuses=[DagsterRunStatus.QUEUED])
            try:
                if workspace.instance.get_run_ids(queued, limit=1):  # or else Dagster loads all runs in progress
                    yield from super().run_iteration(workspace, *arguments)
            finally:  # also after an error, such as an outage of PostgreSQL
                woken.wait(self.pause_s)
                woken.clear()

    controller.QueuedRunCoordinatorDaemon = PromptQueueDaemon  # type: ignore[assignment, attr-defined]


def wrap_channel(wrapper: Callable[[Any, Callable[[], Any]], Any]) -> None:
    """Replace what opens a gRPC channel for each call; `wrapper` is called with Dagster's client and the original."""
    original = DagsterGrpcClient._channel
    DagsterGrpcClient._channel = lambda self: wrapper(self, partial(original, self))  # type: ignore[method-assign]


def refresh_workspace_if(is_outdated: Callable[[Any], bool]) -> None:
    """Make the daemon of this process load definitions again only where `is_outdated` is true, not once a minute.

    Args:
        is_outdated: Called once a minute with each code location; None if it could not be loaded.
    """
    from dagster._core.workspace.context import WorkspaceProcessContext  # noqa: PLC0415

    def refresh(workspace: WorkspaceProcessContext) -> None:
        for name, entry in workspace.get_current_workspace().code_location_entries.items():
            if is_outdated(entry.code_location):
                workspace.refresh_code_location(name)

    WorkspaceProcessContext.refresh_workspace = refresh  # type: ignore[assignment, method-assign]


def set_scheduler_clock_ahead(seconds: float) -> None:
    """Make the scheduler of this process evaluate each tick `seconds` before its time; the tick's time is unchanged."""
    from dagster._scheduler import scheduler  # noqa: PLC0415  # no other process needs it

    def timestamp() -> float:
        return time.time() + seconds

    scheduler.get_current_timestamp = timestamp  # type: ignore[attr-defined]
    scheduler.get_current_datetime = lambda: datetime.fromtimestamp(timestamp(), UTC)  # type: ignore[assignment, attr-defined, misc]


def set_run_process_context(current: Callable[[], BaseContext]) -> None:
    """Make every code server of this process start its runs with the multiprocessing context that `current` returns."""
    # As a property of the class it takes precedence over the attribute that the server's __init__ sets.
    DagsterApiServer._mp_ctx = property(lambda _: current(), lambda _, __: None)  # type: ignore[assignment]


def wrap_check_for_orphaned_runs(wrapper: Callable[[Callable[[], None]], None]) -> None:
    """Replace the check, once a second, for runs whose process has died: `wrapper` is called with the original one."""
    original = DagsterApiServer._check_for_orphaned_runs

    def check(server: DagsterApiServer) -> None:
        wrapper(partial(original, server))

    DagsterApiServer._check_for_orphaned_runs = check  # type: ignore[assignment, method-assign]


def open_workspace(instance: DagsterInstance, file: Path, version: str) -> AbstractContextManager[Any]:
    """Return the workspace that a file describes, for the webserver: a context manager that yields itself."""
    from dagster._core.workspace.context import WorkspaceProcessContext  # noqa: PLC0415
    from dagster._core.workspace.load_target import WorkspaceFileTarget  # noqa: PLC0415

    return WorkspaceProcessContext(instance, WorkspaceFileTarget(paths=[str(file)]), version=version)


def instance_of(launcher: RunLauncher[Any]) -> DagsterInstance:
    """Return the launcher's instance."""
    instance: DagsterInstance = launcher._instance
    return instance


def is_known_to_code_server(launcher: DefaultRunLauncher, run_id: str, timeout_s: int) -> bool | None:
    """Ask the code server that started a run whether the run's process is alive.

    Returns:
        None if the run has ended, or if no code server has started it.

    Raises:
        DagsterUserCodeUnreachableError: the code server does not answer.
    """
    client = launcher._get_grpc_client_for_termination(run_id)  # type: ignore[no-untyped-call]
    if client is None:
        return None
    reply = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run_id), timeout=timeout_s)
    return deserialize_value(reply, CanCancelExecutionResult).can_cancel


class CeleryTaskHooks:
    """Mixin for dagster_celery's CeleryRunLauncher: two methods to override, called when a task is sent."""

    def prepare_task(self, run: DagsterRun, task_signature: Any) -> Any:
        """Return the task to send."""
        _ = run
        return task_signature

    def sending_task(self) -> AbstractContextManager[None]:
        """Return a context in which the task is sent."""
        return nullcontext()

    def _launch_celery_task_run(self, run: DagsterRun, task_signature: Any, routing_key: str) -> None:
        with self.sending_task():
            super()._launch_celery_task_run(run, self.prepare_task(run, task_signature), routing_key)  # type: ignore[misc]


class SharedEngine:
    """Mixin for a storage of dagster-postgres that allows its engine to be replaced."""

    _engine: Engine

    @property
    def engine(self) -> Engine:
        """The engine in use."""
        return self._engine

    def share(self, engine: Engine) -> None:
        """Use another engine from now on."""
        self._engine.dispose()
        self._engine = engine


def store_planned_batch(instance: DagsterInstance, events: Sequence[EventLogEntry]) -> None:
    """Store events that plan partitions in one statement; Dagster takes one, and 5 ms, for each."""
    storage = instance.event_log_storage
    if not isinstance(storage, PostgresEventLogStorage):
        raise TypeError(f"Dagster's events are not in PostgreSQL but in {type(storage).__name__}")
    statement = storage.prepare_insert_event_batch(events).returning(SqlEventLogStorageTable.c.id)
    with storage._connect() as connection:
        ids = [row[0] for row in connection.execute(statement)]
    with storage.index_transaction() as connection:
        storage._store_asset_event(connection, events[-1], ids[-1])


def replace_storages(storage: DagsterPostgresStorage, event_logs: Any, runs: Any, schedules: Any) -> None:
    """Replace the three storages that a DagsterPostgresStorage consists of."""
    storage._event_log_storage = event_logs
    storage._run_storage = runs
    storage._schedule_storage = schedules
