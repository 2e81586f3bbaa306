"""The run launcher's answers to run monitoring about Celery workers, with simulated replies; selection of the launcher.

tests/test_celery_runs.py uses a real Redis and real workers.
"""

import sys
from typing import Any

import pytest
from celery.exceptions import OperationalError
from dagster import DagsterRun, DagsterRunStatus

from emm_pipeline.dagster_ext import celery_launcher, launchers
from emm_pipeline.dagster_ext.celery_launcher import WatchedCeleryLauncher
from emm_pipeline.dagster_ext.internals import WorkerStatus
from emm_pipeline.dagster_ext.launchers import ChosenRunLauncher, WatchedRunLauncher
from emm_pipeline.errors import ConfigurationError
from emm_pipeline.settings import Settings

RUN = DagsterRun("poll", run_id="0a6f4c5e-7a52-4d8f-9d0b-0d7d3b1f1c11", status=DagsterRunStatus.STARTED)
WORKER = "celery@a"


class Launcher(WatchedCeleryLauncher):
    """A launcher with simulated Redis, workers and clock."""

    task: tuple[str, str | None] = ("STARTED", WORKER)
    answers: dict[str, dict[str, Any]] | None = None
    asked = 0

    def _task(self, run_id: str) -> tuple[str, str | None]:
        if self.answers is None:
            raise OperationalError("Connection refused")
        return self.task

    def _ask(self, run_ids, worker=None):
        self.asked += 1
        return self.answers if self.answers is not None else self._task("")


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(celery_launcher, "time", clock)
    return clock


@pytest.fixture
def settings(monkeypatch) -> Settings:
    settings = Settings(
        postgres_host="a", postgres_user="b", postgres_db="c", redis_password="p/w@", run_launcher="celery"
    )
    monkeypatch.setattr(launchers, "current_settings", lambda: settings)
    return settings


@pytest.fixture
def launcher(clock, settings) -> Launcher:
    launcher = Launcher.of(settings, None)
    launcher.answers = {}
    return launcher


def status(launcher: Launcher, run: DagsterRun = RUN) -> WorkerStatus:
    return launcher.check_run_worker_health(run).status


def test_a_run_is_running_while_a_worker_has_it(launcher):
    launcher.answers = {WORKER: {RUN.run_id: ["active", {}]}}
    assert status(launcher) is WorkerStatus.RUNNING
    launcher.task = ("PENDING", None)  # Redis was restarted, and has lost its data
    assert status(launcher) is WorkerStatus.RUNNING
    assert launcher.lost([RUN.run_id, "another"]) == {"another"}


def test_a_worker_that_does_not_know_its_run_was_restarted(launcher):
    launcher.answers = {WORKER: {}}
    assert status(launcher) is WorkerStatus.FAILED


def test_a_run_whose_process_was_killed_has_failed(launcher):
    launcher.task = ("FAILURE", None)
    assert status(launcher) is WorkerStatus.FAILED


@pytest.mark.parametrize("task", [("STARTED", WORKER), ("PENDING", None), ("SUCCESS", None), ("REVOKED", None)])
def test_a_run_without_a_worker_fails_at_the_second_check(launcher, clock, task):
    launcher.task = task
    assert status(launcher) is WorkerStatus.RUNNING
    clock.now += 15
    assert status(launcher) is WorkerStatus.FAILED


def test_a_worker_that_replied_in_the_meantime_has_two_checks_again(launcher, clock):
    assert status(launcher) is WorkerStatus.RUNNING
    clock.now += 5
    launcher.answers = {WORKER: {RUN.run_id: ["active", {}]}}
    assert status(launcher) is WorkerStatus.RUNNING
    launcher.answers = {}
    clock.now += 15
    assert status(launcher) is WorkerStatus.RUNNING
    clock.now += celery_launcher.FORGOTTEN_AFTER_S + 1
    assert status(launcher) is WorkerStatus.RUNNING, "no check for a minute: this may be another outage"


def test_a_silent_worker_is_asked_once_for_all_its_runs(launcher):
    for number in range(5):
        status(launcher, DagsterRun("poll", run_id=f"0a6f4c5e-7a52-4d8f-9d0b-0d7d3b1f1c1{number}"))
    assert launcher.asked == 1


def test_no_run_is_considered_dead_while_redis_is_unavailable_or_just_after(launcher, clock):
    launcher.answers = None
    for _ in range(10):
        clock.now += 15
        assert status(launcher) is WorkerStatus.RUNNING
    assert launcher.lost([RUN.run_id]) == set()
    launcher.answers = {}
    while clock.now < 1000 + 150 + celery_launcher.RECONNECTED_AFTER_S - 15:
        clock.now += 15
        assert status(launcher) is WorkerStatus.RUNNING
    clock.now += 15
    assert status(launcher) is WorkerStatus.FAILED


def test_the_launcher_is_the_one_that_the_settings_name(settings):
    assert isinstance(ChosenRunLauncher.from_config_value(None, {}), WatchedCeleryLauncher)
    settings.run_launcher = "default"
    assert isinstance(ChosenRunLauncher.from_config_value(None, {}), WatchedRunLauncher)


def test_a_password_with_special_characters_reaches_redis(launcher):
    assert launcher.celery.connection().password == "p/w@"
    assert launcher.celery.backend.connparams["password"] == "p/w@"


def test_without_the_extra_package_an_error_says_what_to_install(settings, monkeypatch):
    monkeypatch.setitem(sys.modules, "celery", None)
    monkeypatch.delitem(sys.modules, "emm_pipeline.dagster_ext.celery_launcher")
    monkeypatch.setitem(sys.modules, "celery.exceptions", None)
    with pytest.raises(ConfigurationError, match=r"RUN_LAUNCHER=celery needs .*pip install .*\[celery\]"):
        ChosenRunLauncher.from_config_value(None, {})
