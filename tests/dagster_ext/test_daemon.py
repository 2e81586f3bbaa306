"""The daemon looks at the run queue as soon as it has put a run into it."""

from threading import Event, Thread

import pytest
from dagster import DagsterInstance
from dagster._daemon import controller

from emm_pipeline.dagster_ext import daemon
from emm_pipeline.dagster_ext.internals import look_at_queue_when

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


@pytest.mark.timeout(60)
def test_it_looks_again_when_it_is_woken_and_not_before(queue_daemon):
    queue, woken, looks = queue_daemon
    loop = queue.core_loop(None, Event())
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
    loop = queue.core_loop(None, Event())
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
