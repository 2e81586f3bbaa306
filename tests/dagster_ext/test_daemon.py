"""The daemon looks at the run queue as soon as it has put a run into it, creates runs before their ticks, and loads
the definitions only from a new code server.
"""

import logging
from datetime import UTC, datetime
from threading import Event, Thread
from types import SimpleNamespace

import pytest
from dagster import DagsterInstance
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._daemon import controller
from dagster._scheduler import scheduler

from emm_pipeline.dagster_ext import daemon, internals
from emm_pipeline.dagster_ext.internals import (
    DagsterUserCodeUnreachableError,
    look_at_queue_when,
    refresh_workspace_if,
    set_scheduler_clock_ahead,
)
from emm_pipeline.polling.timing import START_MARGIN

HOURS_S = 36_000


@pytest.fixture
def queue_daemon(monkeypatch):
    """Dagster's daemon of the run queue, which starts nothing; and the event that wakes it."""
    looks = []
    stock = controller.QueuedRunCoordinatorDaemon
    monkeypatch.setattr(stock, "run_iteration", lambda *_: iter([looks.append("look")]))
    monkeypatch.setattr(controller, "QueuedRunCoordinatorDaemon", stock)
    woken = Event()
    look_at_queue_when(woken)
    return controller.QueuedRunCoordinatorDaemon(interval_seconds=HOURS_S), woken, looks


def workspace_with(*queued: str):
    """A workspace whose instance has these runs in its queue."""
    return SimpleNamespace(instance=SimpleNamespace(get_run_ids=lambda _filters, limit: queued[:limit]))


@pytest.mark.timeout(60)
def test_it_starts_nothing_while_the_queue_is_empty(queue_daemon):
    queue, woken, looks = queue_daemon
    woken.set()
    loop = queue.core_loop(workspace_with(), Event())
    for _ in range(3):
        next(loop)
    assert looks == []


@pytest.mark.timeout(60)
def test_it_looks_again_when_it_is_woken_and_not_before(queue_daemon):
    queue, woken, looks = queue_daemon
    loop = queue.core_loop(workspace_with("run"), Event())
    while looks != ["look"]:
        next(loop)
    waiting = Thread(target=lambda: [next(loop) for _ in range(4)], daemon=True)
    waiting.start()
    assert looks == ["look"]
    woken.set()
    waiting.join()
    assert looks == ["look", "look"]
    woken.set()


@pytest.mark.timeout(60)
def test_it_pauses_after_an_error_too(queue_daemon, monkeypatch):
    queue, woken, looks = queue_daemon

    def fail(*_):
        looks.append("look")
        raise ZeroDivisionError

    monkeypatch.setattr(type(queue).__mro__[1], "run_iteration", fail)
    loop = queue.core_loop(workspace_with("run"), Event())
    next(loop)
    waiting = Thread(target=next, args=[loop], daemon=True)
    waiting.start()
    while not looks:
        waiting.join(0.01)
    assert waiting.is_alive()
    woken.set()
    waiting.join()
    woken.set()


def test_it_is_woken_by_each_run_that_is_submitted(monkeypatch):
    monkeypatch.setattr(DagsterInstance, "submit_run", lambda _, run_id: f"run {run_id}")
    submitted = daemon.runs_are_submitted()
    assert not submitted.is_set()
    assert DagsterInstance.submit_run(None, "1") == "run 1"
    assert submitted.is_set()


@pytest.fixture
def scheduler_at(monkeypatch):
    """Dagster's loop over the schedules, two seconds ahead: at a time, what it evaluates, and its pause after that."""
    for name in ("get_current_timestamp", "get_current_datetime"):
        monkeypatch.setattr(scheduler, name, getattr(scheduler, name))
    set_scheduler_clock_ahead(2.0)

    def run(now: str) -> tuple[datetime, float]:
        evaluated, pauses = [], []
        at = datetime.fromisoformat(now).replace(tzinfo=UTC).timestamp()
        monkeypatch.setattr(internals, "time", SimpleNamespace(time=lambda: at))
        monkeypatch.setattr(
            scheduler,
            "launch_scheduled_runs",
            lambda *_, end_datetime_utc, **__: iter([evaluated.append(end_datetime_utc)]),
        )
        process = SimpleNamespace(instance=SimpleNamespace(get_scheduler_settings=dict))
        shutdown = SimpleNamespace(wait=pauses.append)
        loop = scheduler.execute_scheduler_iteration_loop(process, logging.getLogger(), 1, 0, shutdown)
        while not pauses:
            next(loop)
        return evaluated[0], pauses[0]

    return run


def test_the_scheduler_wakes_before_the_minute_is_full_and_evaluates_its_tick(scheduler_at):
    _, pause_s = scheduler_at("2026-11-27 12:00:05")
    assert pause_s == pytest.approx(53.001)
    evaluated, pause_s = scheduler_at("2026-11-27 12:00:58.001")
    assert evaluated >= datetime(2026, 11, 27, 12, 1, tzinfo=UTC)
    assert pause_s == pytest.approx(60)


def test_runs_are_created_after_the_polls_before_them_have_ended():
    assert 0 < daemon.EARLY_S < START_MARGIN.total_seconds()


def location_of(server_id: str, answer: str | Exception):
    def get_server_id():
        if isinstance(answer, Exception):
            raise answer
        return answer

    return SimpleNamespace(server_id=server_id, client=SimpleNamespace(get_server_id=get_server_id))


@pytest.mark.parametrize(
    ("location", "loaded"),
    [
        (location_of("first", "first"), []),
        (location_of("first", "second"), ["emm"]),
        (location_of("first", DagsterUserCodeUnreachableError("no answer")), ["emm"]),
        (None, ["emm"]),
    ],
    ids=["same server", "new server", "no answer", "not loaded before"],
)
def test_definitions_are_loaded_again_only_if_they_may_have_changed(monkeypatch, location, loaded):
    monkeypatch.setattr(WorkspaceProcessContext, "refresh_workspace", WorkspaceProcessContext.refresh_workspace)
    refresh_workspace_if(daemon.is_outdated)
    names = []
    workspace = SimpleNamespace(
        get_current_workspace=lambda: SimpleNamespace(
            code_location_entries={"emm": SimpleNamespace(code_location=location)}
        ),
        refresh_code_location=names.append,
    )
    WorkspaceProcessContext.refresh_workspace(workspace)
    assert names == loaded
